/*
 * arrow_columns(kinds, rows, cell, ...): the rows of a statement as Arrow arrays, one a column.
 *
 * A loadable extension of SQLite (https://sqlite.org/loadext.html), an aggregate: SQLite hands it each row's cells, and
 * it puts them where Arrow wants them, so that a cell costs two calls and one copy. Its result is the arrays' addresses
 * for the Arrow C data interface (https://arrow.apache.org/docs/format/CDataInterface.html) as text, for each column
 * that of its ArrowSchema and that of its ArrowArray; NULL if a cell was not of its column's kind.
 *
 * kinds  text, a letter a column, see Kind
 * rows   how many are expected; more are taken too
 *
 * An array that nobody takes is freed with the connection. Those that were taken outlive it.
 *
 * arrow_sum(key, cell): one number of 62 bits for the cells of some rows, whatever order they come in. It is the sum of
 * a hash of each row, of its key and the bytes of its cell: FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/), and
 * then the finalizer of SplitMix64 (https://prng.di.unimi.it/splitmix64.c), or two rows that swap cells have one sum.
 */
#define _GNU_SOURCE /* O_NOFOLLOW */
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../core/arrow.h"
#include "sqlite3ext.h"

#define ADDRESS_CHARACTERS 21 /* of 64 bits, and a space */
#define INLINED 12            /* bytes of a text that a view holds itself */
#define FEWEST_ROWS 1024
#define FEWEST_BYTES 65536

/* As in Arrow's format strings. columns.py calls them by the same letters, which a test holds. */
typedef enum {
  INTEGER = 'l',
  REAL = 'g',
  TEXT = 'u',
  BLOB = 'z',
  BOOLEAN = 'b',
  TEXT_AS_BYTES = 't', /* which need not be UTF-8 */
} Kind;
static const char KINDS[] = {INTEGER, REAL, TEXT, BLOB, BOOLEAN, TEXT_AS_BYTES, 0};

/*
 * SQLite's functions, of which the macros of sqlite3ext.h ask for one by the name sqlite3_api: a parameter, wherever they
 * are used. The table is the library's own and the same for all connections, and the process has one library; so it is
 * set once, by the first connection, and only read by the threads of the others.
 */
static _Atomic(const sqlite3_api_routines *) the_library;

static const sqlite3_api_routines *library(void) { return atomic_load_explicit(&the_library, memory_order_acquire); }

/* Text or a blob, as Arrow's layout "variable-size binary view" has it. */
typedef struct {
  int32_t length;
  char start[4];
  int32_t buffer, offset; /* where all of it is; if it is short, its bytes 4 to 11 */
} View;

typedef enum { FITS, MISFIT, NO_MEMORY } State;

typedef struct {
  Kind kind;
  void *cells; /* int64_t, double, View, or a bit each */
  void *valid; /* a bit each; not there while there is no NULL */
  void *bytes; /* of long texts and blobs */
  int64_t used, room, nulls;
  const void *buffers[4];
} Column;

typedef struct {
  int64_t rows, room;
  int columns;
  State state;
  Column **column;
} Rows;

/* The arrays of one statement, to be taken from here. */
typedef struct Result {
  struct Result *next;
  int columns;
  struct { struct ArrowSchema schema; struct ArrowArray array; } of[];
} Result;

/* What belongs to one connection, which one thread uses at a time. */
typedef struct { Result *results; } Connection;

/* -- memory */

static void free_column(Column *column) {
  if (!column) return;
  free(column->cells);
  free(column->valid);
  free(column->bytes);
  free(column);
}

static void free_rows(Rows *rows) {
  for (int i = 0; rows->column && i < rows->columns; i++) free_column(rows->column[i]);
  free(rows->column);
  rows->column = NULL;
}

static size_t bytes_of_cells(const Column *column, int64_t rows) {
  switch (column->kind) {
    case BOOLEAN: return (size_t)rows / 8;
    case INTEGER:
    case REAL: return (size_t)rows * 8;
    default: return (size_t)rows * sizeof(View);
  }
}

static int resize(void **at, size_t bytes) {
  void *moved = realloc(*at, bytes);
  if (moved) *at = moved;
  return moved != NULL;
}

/* Make room for more rows. */
static int make_room(Rows *rows, int64_t room) {
  room = (room + 63) / 64 * 64;
  for (int i = 0; i < rows->columns; i++) {
    Column *column = rows->column[i];
    if (!resize(&column->cells, bytes_of_cells(column, room))) return 0;
    if (!column->valid) continue;
    if (!resize(&column->valid, (size_t)room / 8)) return 0;
    memset((uint8_t *)column->valid + rows->room / 8, 0xff, (size_t)(room - rows->room) / 8);
  }
  rows->room = room;
  return 1;
}

static int begin(Rows *rows, int columns, const char *kinds, int64_t expected) {
  rows->column = calloc((size_t)columns, sizeof *rows->column);
  if (!rows->column) return 0;
  rows->columns = columns;
  for (int i = 0; i < columns; i++) {
    if (!(rows->column[i] = calloc(1, sizeof(Column)))) return 0;
    rows->column[i]->kind = (Kind)kinds[i];
  }
  return make_room(rows, expected > FEWEST_ROWS ? expected : FEWEST_ROWS);
}

/* -- cells */

static State add_null(Column *column, int64_t row, int64_t room) {
  if (!column->valid) {
    if (!(column->valid = malloc((size_t)room / 8))) return NO_MEMORY;
    memset(column->valid, 0xff, (size_t)room / 8);
  }
  ((uint8_t *)column->valid)[row / 8] &= (uint8_t) ~(1u << row % 8);
  column->nulls++;
  if (column->kind != BOOLEAN) memset((char *)column->cells + bytes_of_cells(column, row), 0, bytes_of_cells(column, 1));
  return FITS;
}

static State add_flag(Column *column, int64_t row, int64_t value) {
  uint8_t *bits = (uint8_t *)column->cells + row / 8, bit = (uint8_t)(1u << row % 8);
  if (value != 0 && value != 1) return MISFIT;
  *bits = (uint8_t)(value ? *bits | bit : *bits & ~bit);
  return FITS;
}

static State add_bytes(Column *column, int64_t row, const char *bytes, int32_t length) {
  View *view = (View *)column->cells + row;
  memset(view, 0, sizeof *view);
  view->length = length;
  if (length <= INLINED) {
    if (length) memcpy((char *)view + offsetof(View, start), bytes, (size_t)length);
    return FITS;
  }
  if (column->used + length > INT32_MAX) return MISFIT; /* more than an offset can tell */
  if (column->used + length > column->room) {
    int64_t room = column->room ? column->room : FEWEST_BYTES;
    while (room < column->used + length) room *= 2;
    if (!resize(&column->bytes, (size_t)room)) return NO_MEMORY;
    column->room = room;
  }
  memcpy(view->start, bytes, sizeof view->start);
  view->offset = (int32_t)column->used;
  memcpy((char *)column->bytes + column->used, bytes, (size_t)length);
  column->used += length;
  return FITS;
}

static int are_eight_ascii(const unsigned char *at) {
  uint64_t eight;
  memcpy(&eight, at, sizeof eight);
  return !(eight & 0x8080808080808080u);
}

static int is_tail(unsigned char byte) { return (byte & 0xc0) == 0x80; }

/* Whether bytes are UTF-8: table 3-7 of https://www.unicode.org/versions/Unicode16.0.0/core-spec/chapter-3/ */
static int is_utf8(const unsigned char *at, int32_t length) {
  const unsigned char *end = at + length;
  while (at < end) {
    if (end - at >= 8 && are_eight_ascii(at)) {
      at += 8;
    } else if (at[0] < 0x80) {
      at += 1;
    } else if (at[0] >= 0xc2 && at[0] <= 0xdf && end - at >= 2 && is_tail(at[1])) {
      at += 2;
    } else if (at[0] >= 0xe0 && at[0] <= 0xef && end - at >= 3 && is_tail(at[1]) && is_tail(at[2])) {
      if ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f)) return 0;
      at += 3;
    } else if (at[0] >= 0xf0 && at[0] <= 0xf4 && end - at >= 4 && is_tail(at[1]) && is_tail(at[2]) && is_tail(at[3])) {
      if ((at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)) return 0;
      at += 4;
    } else {
      return 0;
    }
  }
  return 1;
}

static State add(const sqlite3_api_routines *sqlite3_api, Column *column, int64_t row, int64_t room,
                 sqlite3_value *cell) {
  switch (sqlite3_value_type(cell)) {
    case SQLITE_INTEGER:
      if (column->kind == BOOLEAN) return add_flag(column, row, sqlite3_value_int64(cell));
      if (column->kind != INTEGER) return MISFIT;
      ((int64_t *)column->cells)[row] = sqlite3_value_int64(cell);
      return FITS;
    case SQLITE_FLOAT:
      if (column->kind != REAL) return MISFIT;
      ((double *)column->cells)[row] = sqlite3_value_double(cell);
      return FITS;
    case SQLITE_TEXT: {
      if (column->kind != TEXT && column->kind != TEXT_AS_BYTES) return MISFIT;
      const unsigned char *text = sqlite3_value_text(cell);
      int length = sqlite3_value_bytes(cell);
      if (!text) return NO_MEMORY;
      if (column->kind == TEXT && !is_utf8(text, length)) return MISFIT;
      return add_bytes(column, row, (const char *)text, length);
    }
    case SQLITE_BLOB: {
      if (column->kind != BLOB) return MISFIT;
      const char *blob = sqlite3_value_blob(cell);
      int length = sqlite3_value_bytes(cell);
      return blob || !length ? add_bytes(column, row, blob, length) : NO_MEMORY;
    }
    default: return add_null(column, row, room);
  }
}

/* -- the aggregate */

static void step(sqlite3_context *context, int arguments, sqlite3_value **argument) {
  const sqlite3_api_routines *sqlite3_api = library();
  Rows *rows = sqlite3_aggregate_context(context, sizeof *rows);
  if (!rows || rows->state != FITS) return;
  int ready = 1;
  if (!rows->column) {
    const char *kinds = arguments > 2 ? (const char *)sqlite3_value_text(argument[0]) : NULL;
    if (!kinds || strlen(kinds) != (size_t)arguments - 2 || strspn(kinds, KINDS) != strlen(kinds)) {
      sqlite3_result_error(context, "arrow_columns(kinds, rows, cell, ...): a letter of Kind for each cell", -1);
      return;
    }
    ready = begin(rows, arguments - 2, kinds, sqlite3_value_int64(argument[1]));
  } else if (rows->rows == rows->room) {
    ready = make_room(rows, 2 * rows->room);
  }
  if (!ready) rows->state = NO_MEMORY;
  for (int i = 0; i < rows->columns && rows->state == FITS; i++)
    rows->state = add(sqlite3_api, rows->column[i], rows->rows, rows->room, argument[i + 2]);
  rows->rows++;
  if (rows->state != FITS) free_rows(rows);
}

static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }

static void release_array(struct ArrowArray *array) {
  free_column(array->private_data);
  array->release = NULL;
}

static const char *format(Kind kind) {
  switch (kind) {
    case INTEGER: return "l";
    case REAL: return "g";
    case BOOLEAN: return "b";
    case TEXT: return "vu";
    default: return "vz";
  }
}

static void export(const Rows *rows, Column *column, struct ArrowSchema *schema, struct ArrowArray *array) {
  int64_t *used = &column->used; /* the sizes of the buffers of bytes, of which there is one */
  int of_views = column->kind == TEXT || column->kind == TEXT_AS_BYTES || column->kind == BLOB, buffers = 2;
  column->buffers[0] = column->valid;
  column->buffers[1] = column->cells;
  if (of_views) {
    if (*used) column->buffers[buffers++] = column->bytes;
    column->buffers[buffers++] = used;
  }
  *array = (struct ArrowArray){.length = rows->rows,
                               .null_count = column->nulls,
                               .n_buffers = buffers,
                               .buffers = column->buffers,
                               .release = release_array,
                               .private_data = column};
  *schema = (struct ArrowSchema){.format = format(column->kind),
                                 .name = "",
                                 .flags = ARROW_FLAG_NULLABLE,
                                 .release = release_schema};
}

/* Frees the results of which everything was taken, or all of them. */
static void sweep(Connection *connection, int all) {
  for (Result **at = &connection->results; *at;) {
    Result *result = *at;
    int left = 0;
    for (int i = 0; i < result->columns; i++) {
      struct ArrowArray *array = &result->of[i].array;
      if (all && array->release) array->release(array);
      left += array->release != NULL;
    }
    if (left) {
      at = &result->next;
    } else {
      *at = result->next;
      free(result);
    }
  }
}

static void finish(sqlite3_context *context) {
  const sqlite3_api_routines *sqlite3_api = library();
  Rows *rows = sqlite3_aggregate_context(context, 0);
  Connection *connection = sqlite3_user_data(context);
  if (!rows || !rows->column) {
    if (rows && rows->state == NO_MEMORY) sqlite3_result_error_nomem(context);
    else if (!rows || rows->state == FITS) sqlite3_result_text(context, "", 0, SQLITE_STATIC);
    return; /* after a misfit it is NULL */
  }
  Result *result = calloc(1, sizeof *result + (size_t)rows->columns * sizeof result->of[0]);
  char *addresses = malloc((size_t)rows->columns * 2 * ADDRESS_CHARACTERS + 1), *end = addresses;
  if (!result || !addresses) {
    free(result);
    free(addresses);
    free_rows(rows);
    sqlite3_result_error_nomem(context);
    return;
  }
  result->columns = rows->columns;
  for (int i = 0; i < rows->columns; i++) {
    struct ArrowSchema *schema = &result->of[i].schema;
    struct ArrowArray *array = &result->of[i].array;
    export(rows, rows->column[i], schema, array);
    end += sprintf(end, "%llu %llu ", (unsigned long long)(uintptr_t)schema, (unsigned long long)(uintptr_t)array);
  }
  free(rows->column);
  sweep(connection, 0);
  result->next = connection->results;
  connection->results = result;
  sqlite3_result_text(context, addresses, -1, free);
}

static void disconnect(void *connection) {
  sweep(connection, 1);
  free(connection);
}

/* -- the sum */

#define SUM_BITS 62
#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

static uint64_t hashed(uint64_t hash, const void *bytes, size_t count) {
  for (const unsigned char *at = bytes, *end = at + count; at < end; at++) hash = (hash ^ *at) * FNV_PRIME;
  return hash;
}

static uint64_t mixed(uint64_t hash) {
  hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
  hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
  return hash ^ (hash >> 31);
}

static void sum_step(sqlite3_context *context, int arguments, sqlite3_value **argument) {
  const sqlite3_api_routines *sqlite3_api = library();
  (void)arguments;
  uint64_t *sum = sqlite3_aggregate_context(context, sizeof *sum);
  if (!sum) return;
  int64_t key = sqlite3_value_int64(argument[0]);
  int type = sqlite3_value_type(argument[1]);
  uint64_t hash = hashed(hashed(FNV_BASIS, &key, sizeof key), &type, sizeof type);
  if (type == SQLITE_INTEGER) {
    int64_t number = sqlite3_value_int64(argument[1]);
    hash = hashed(hash, &number, sizeof number);
  } else if (type == SQLITE_FLOAT) {
    double number = sqlite3_value_double(argument[1]);
    hash = hashed(hash, &number, sizeof number);
  } else if (type == SQLITE_TEXT || type == SQLITE_BLOB) {
    const void *bytes = sqlite3_value_blob(argument[1]); /* of a text those that are stored */
    int count = sqlite3_value_bytes(argument[1]);
    if (bytes) hash = hashed(hash, bytes, (size_t)count);
  }
  *sum += mixed(hash);
}

static void sum_finish(sqlite3_context *context) {
  const sqlite3_api_routines *sqlite3_api = library();
  const uint64_t *sum = sqlite3_aggregate_context(context, 0);
  sqlite3_result_int64(context, sum ? (int64_t)(*sum & ((1ull << SUM_BITS) - 1)) : 0);
}

#define LIMIT_LENGTH 0 /* SQLITE_LIMIT_LENGTH, https://sqlite.org/c3ref/c_limit_attached.html */

/* arrow_limit(bytes): from now on SQLite refuses to load a longer text or blob (SQLITE_TOOBIG), before it is read. */
static void limit(sqlite3_context *context, int arguments, sqlite3_value **argument) {
  const sqlite3_api_routines *sqlite3_api = library();
  (void)arguments;
  sqlite3_limit(sqlite3_context_db_handle(context), LIMIT_LENGTH, sqlite3_value_int(argument[0]));
}

#define DESCRIPTORS "/proc/self/fd/"

static int name_as_given(sqlite3_vfs *vfs, const char *name, int size, char *full) {
  (void)vfs;
  size_t length = strlen(name);
  if (length >= (size_t)size) return SQLITE_CANTOPEN;
  memcpy(full, name, length + 1);
  return SQLITE_OK;
}

/* As SQLite opens files: it follows no link, as it has followed them all before. */
static int open_descriptor_too(const char *name, int flags, int mode) {
  if (!strncmp(name, DESCRIPTORS, strlen(DESCRIPTORS))) flags &= ~O_NOFOLLOW;
  return open(name, flags, mode);
}

/*
 * The file system "descriptor": the usual one, but that it opens /proc/self/fd/7 itself. Else SQLite would follow that link
 * to a name, which another file may have by now.
 */
static void add_descriptors(const sqlite3_api_routines *sqlite3_api) {
  static atomic_flag added = ATOMIC_FLAG_INIT;
  static sqlite3_vfs descriptors;
  sqlite3_vfs *usual = sqlite3_vfs_find(NULL);
  if (!usual || usual->iVersion < 3 || atomic_flag_test_and_set(&added)) return;
  descriptors = *usual;
  descriptors.zName = "descriptor";
  descriptors.xFullPathname = name_as_given;
  usual->xSetSystemCall(usual, "open", (void (*)(void))open_descriptor_too);
  sqlite3_vfs_register(&descriptors, 0);
}

int sqlite3_columns_init(sqlite3 *database, char **error, const sqlite3_api_routines *sqlite3_api) {
  (void)error;
  const sqlite3_api_routines *known = NULL;
  if (!atomic_compare_exchange_strong(&the_library, &known, sqlite3_api) && known != sqlite3_api)
    return SQLITE_ERROR; /* a second library in one process: their locks would break each other */
  Connection *connection = calloc(1, sizeof *connection);
  if (!connection) return SQLITE_NOMEM;
  sqlite3_create_function_v2(database, "arrow_limit", 1, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, limit, NULL, NULL, NULL);
  sqlite3_create_function_v2(database, "arrow_sum", 2, SQLITE_UTF8 | SQLITE_DIRECTONLY, NULL, NULL, sum_step, sum_finish,
                             NULL);
  add_descriptors(sqlite3_api);
  int code = sqlite3_create_function_v2(database, "arrow_columns", -1, SQLITE_UTF8 | SQLITE_DIRECTONLY, connection, NULL,
                                        step, finish, disconnect);
  return code == SQLITE_OK ? SQLITE_OK_LOAD_PERMANENTLY : code; /* arrays that were taken need it after the connection */
}
