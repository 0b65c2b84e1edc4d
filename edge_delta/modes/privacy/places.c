/*
 * places_begin, places_end: the cells of places, see grid.py, which says what a cell is and calls these.
 *
 * Sensors report the same place again and again, and where they move, thousands of places share a cell. So each distinct
 * place is looked at once, and what grid.py makes of a cell is made once for each distinct cell. Nothing here is secret
 * but what comes in and goes out, and no number is drawn here.
 *
 *   places_begin  takes latitudes and longitudes, finds the row of cells that each place is in, and tells the distinct rows
 *   places_end    takes what was drawn for these rows, finds the cell in the row, and tells the distinct cells and, for
 *                 each place, which of them it is in
 *   places_free   gives back what is between the two
 *
 * What a cell is must stay as it is to the last bit: a place of today has to be in the cell that it was in yesterday. So
 * the compiler may not contract a product and a sum into one operation, which some processors have and others have not.
 */
#define _GNU_SOURCE /* for sincos, which musl has, too */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../../core/arrow.h"

#ifdef __APPLE__ /* has no sincos, and its compilers make one of the two */
static inline void sincos(double angle, double *sine, double *cosine) {
  *sine = sin(angle);
  *cosine = cos(angle);
}
#endif

#pragma STDC FP_CONTRACT OFF

#define NOWHERE UINT32_MAX
#define NO_MEMORY 12 /* ENOMEM */
#define INVALID 22   /* EINVAL */
static const double HALF_PI = 1.57079632679489661923, TURN = 6.28318530717958647692, RADIAN = 0.017453292519943295;

/* The grid: the rows of the matrix that turns the globe, the height of a row of cells in radians, where the first begins. */
typedef struct { double matrix[9], height, first, last; } Grid;

typedef struct {
  int64_t count;      /* places that came in */
  uint32_t *place_of; /* of each, which distinct place it is, or NOWHERE */
  uint32_t places, rows;
  double *y, *x;    /* of each distinct place: degrees, and then x is its longitude on the turned globe */
  uint32_t *row_of; /* of each distinct place: its row in the order that rows were found in */
} Places;

/* -- what is the same gets one number */

typedef struct {
  uint32_t *slots, mask, used;
  uint64_t *keys; /* two for each number */
} Numbers;

/* D. Stafford, "Better Bit Mixing", 2011, variant 13, as SplittableRandom has it: spreads keys, and keeps nothing secret. */
static uint64_t mixed(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

static int numbers_for(Numbers *numbers, int64_t most) {
  uint64_t slots = 64;
  while (slots < 2 * (uint64_t)most) slots *= 2;
  numbers->mask = (uint32_t)(slots - 1);
  numbers->used = 0;
  numbers->slots = calloc(slots, sizeof *numbers->slots);
  numbers->keys = malloc(((size_t)most + 1) * 2 * sizeof *numbers->keys);
  return numbers->slots && numbers->keys;
}

static void free_numbers(Numbers *numbers) {
  free(numbers->slots);
  free(numbers->keys);
}

static uint32_t number_of(Numbers *numbers, uint64_t a, uint64_t b) {
  uint32_t slot = (uint32_t)mixed(a ^ mixed(b)) & numbers->mask, number;
  while ((number = numbers->slots[slot])) {
    if (numbers->keys[2 * number - 2] == a && numbers->keys[2 * number - 1] == b) return number - 1;
    slot = (slot + 1) & numbers->mask;
  }
  numbers->keys[2 * numbers->used] = a;
  numbers->keys[2 * numbers->used + 1] = b;
  numbers->slots[slot] = ++numbers->used;
  return numbers->used - 1;
}

static uint64_t bits(double value) {
  uint64_t found;
  memcpy(&found, &value, sizeof found);
  return found;
}

/* -- Arrow, in and out */

typedef struct { struct ArrowSchema schema; struct ArrowArray array; } Exported;

typedef struct { const void *buffers[2]; void *valid, *cells; } Owned;

static void release_schema(struct ArrowSchema *schema) { schema->release = NULL; }

static void release_array(struct ArrowArray *array) {
  Owned *owned = array->private_data;
  free(owned->valid);
  free(owned->cells);
  free(owned);
  array->release = NULL;
}

/* Gives memory away as a column. */
static int export(Exported *to, const char *format, int64_t length, void *cells, void *valid, int64_t nulls) {
  Owned *owned = calloc(1, sizeof *owned);
  if (!owned) return 0;
  *owned = (Owned){.buffers = {valid, cells}, .valid = valid, .cells = cells};
  to->array = (struct ArrowArray){.length = length,
                                  .null_count = nulls,
                                  .n_buffers = 2,
                                  .buffers = owned->buffers,
                                  .release = release_array,
                                  .private_data = owned};
  to->schema = (struct ArrowSchema){
      .format = format, .name = "", .flags = ARROW_FLAG_NULLABLE, .release = release_schema};
  return 1;
}

/* The one chunk of a column of doubles. */
static int one_chunk(struct ArrowArrayStream *stream, struct ArrowArray *array) {
  memset(array, 0, sizeof *array);
  return stream->get_next(stream, array) == 0;
}

static int is_there(const struct ArrowArray *array, int64_t at) {
  const uint8_t *valid = array->buffers[0];
  at += array->offset;
  return !valid || (valid[at / 8] >> at % 8 & 1);
}

/* -- places to rows of cells */

void places_free(Places *places) {
  if (!places) return;
  free(places->place_of);
  free(places->y);
  free(places->x);
  free(places->row_of);
  free(places);
}

static int distinct(Places *places, const struct ArrowArray *latitudes, const struct ArrowArray *longitudes) {
  int64_t count = latitudes->length;
  Numbers numbers;
  int ready = numbers_for(&numbers, count);
  places->count = count;
  places->place_of = malloc(((size_t)count + 1) * sizeof *places->place_of);
  ready = ready && places->place_of;
  for (int64_t i = 0; ready && i < count; i++) {
    double y = ((const double *)latitudes->buffers[1])[i + latitudes->offset];
    double x = ((const double *)longitudes->buffers[1])[i + longitudes->offset];
    int on_globe = y >= -90 && y <= 90 && x >= -180 && x <= 180 && is_there(latitudes, i) && is_there(longitudes, i);
    places->place_of[i] = on_globe ? number_of(&numbers, bits(y), bits(x)) : NOWHERE;
  }
  if (ready) {
    places->places = numbers.used;
    places->y = malloc(((size_t)numbers.used + 1) * sizeof *places->y);
    places->x = malloc(((size_t)numbers.used + 1) * sizeof *places->x);
    places->row_of = malloc(((size_t)numbers.used + 1) * sizeof *places->row_of);
    ready = places->y && places->x && places->row_of;
  }
  for (uint32_t i = 0; ready && i < numbers.used; i++) {
    memcpy(&places->y[i], &numbers.keys[2 * i], sizeof *places->y);
    memcpy(&places->x[i], &numbers.keys[2 * i + 1], sizeof *places->x);
  }
  free_numbers(&numbers);
  return ready;
}

/* The row of cells that a place is in; its longitude on the turned globe takes the place of its own. */
static double row_of(const Grid *grid, double y, double *x) {
  const double *m = grid->matrix;
  double north, east, pz, out; /* sines and cosines of latitude and longitude, both at once */
  sincos(y * RADIAN, &pz, &out);
  sincos(*x * RADIAN, &east, &north);
  double px = out * north, py = out * east;
  double qx = px * m[0] + py * m[1] + pz * m[2];
  double qy = px * m[3] + py * m[4] + pz * m[5];
  double qz = px * m[6] + py * m[7] + pz * m[8];
  *x = atan2(qy, qx);
  double row = floor((atan2(qz, sqrt(qx * qx + qy * qy)) + HALF_PI) * (1.0 / grid->height) + grid->first);
  return row < 0 ? 0 : row > grid->last ? grid->last : row;
}

static int find_rows(Places *places, const Grid *grid, Exported *rows) {
  Numbers numbers;
  int ready = numbers_for(&numbers, places->places);
  for (uint32_t i = 0; ready && i < places->places; i++)
    places->row_of[i] = number_of(&numbers, bits(row_of(grid, places->y[i], &places->x[i])), 0);
  int64_t *found = ready ? malloc(((size_t)numbers.used + 1) * sizeof *found) : NULL;
  for (uint32_t i = 0; found && i < numbers.used; i++) {
    double row;
    memcpy(&row, &numbers.keys[2 * i], sizeof row);
    found[i] = (int64_t)row;
  }
  places->rows = numbers.used;
  free_numbers(&numbers);
  if (found && export(rows, "l", places->rows, found, NULL, 0)) return 1;
  free(found);
  return 0;
}

/* Begin with so many places.
 *
 * latitudes, longitudes  of one chunk of doubles each, in degrees, and of one length
 * rows                   becomes the distinct rows
 * begun                  becomes what places_end goes on with; whoever called this frees it
 */
int places_begin(struct ArrowArrayStream *latitudes, struct ArrowArrayStream *longitudes, const Grid *grid, Exported *rows,
                 Places **begun) {
  struct ArrowArray y, x;
  int code = NO_MEMORY, read_y = one_chunk(latitudes, &y), read_x = one_chunk(longitudes, &x);
  *begun = calloc(1, sizeof **begun);
  if (!read_y || !read_x || y.length != x.length || (y.length && !(y.n_buffers == 2 && x.n_buffers == 2))) code = INVALID;
  else if (*begun && distinct(*begun, &y, &x) && find_rows(*begun, grid, rows)) code = 0;
  if (read_y && y.release) y.release(&y);
  if (read_x && x.release) x.release(&x);
  return code;
}

/* -- rows to cells */

/* The number of each place's cell, NULL for those that are nowhere. */
static int export_cells(const Places *places, const uint32_t *cell_of, Exported *codes) {
  size_t count = (size_t)places->count;
  uint32_t *cells = calloc(count + 1, sizeof *cells);
  uint8_t *valid = calloc(count / 8 + 1, 1);
  int64_t nulls = 0;
  for (size_t i = 0; cells && valid && i < count; i++) {
    uint32_t place = places->place_of[i];
    if (place == NOWHERE) {
      nulls++;
    } else {
      cells[i] = cell_of[place];
      valid[i / 8] |= (uint8_t)(1u << i % 8);
    }
  }
  if (cells && valid && export(codes, "I", places->count, cells, valid, nulls)) return 1;
  free(cells);
  free(valid);
  return 0;
}

static int export_distinct(const Numbers *numbers, Exported *rows, Exported *columns) {
  size_t room = ((size_t)numbers->used + 1);
  uint32_t *row = malloc(room * sizeof *row);
  int64_t *column = malloc(room * sizeof *column);
  for (uint32_t i = 0; row && column && i < numbers->used; i++) {
    row[i] = (uint32_t)numbers->keys[2 * i];
    column[i] = (int64_t)numbers->keys[2 * i + 1];
  }
  if (row && column && export(rows, "I", numbers->used, row, NULL, 0)) {
    row = NULL;
    if (export(columns, "l", numbers->used, column, NULL, 0)) return 1;
    rows->array.release(&rows->array);
  }
  free(row);
  free(column);
  return 0;
}

/* Go on with places that were begun.
 *
 * begins, cells  of each row: the share of the circle by which its cells begin, and how many it has
 * codes          becomes, of each place that came in, the number of its cell, NULL where it is nowhere
 * rows, columns  become, of each cell by its number, the number of its row, and which cell of the row it is
 */
int places_end(const Places *places, const double *begins, const double *cells, Exported *codes, Exported *rows,
               Exported *columns) {
  Numbers numbers;
  int code = NO_MEMORY, ready = numbers_for(&numbers, places->places);
  uint32_t *cell_of = malloc(((size_t)places->places + 1) * sizeof *cell_of);
  ready = ready && cell_of;
  for (uint32_t i = 0; ready && i < places->places; i++) {
    uint32_t row = places->row_of[i];
    double share = places->x[i] * (1.0 / TURN) + begins[row];
    share -= floor(share);
    double column = floor(share * cells[row]);
    if (column > cells[row] - 1) column = cells[row] - 1;
    cell_of[i] = number_of(&numbers, row, (uint64_t)column);
  }
  if (ready && export_distinct(&numbers, rows, columns)) {
    if (export_cells(places, cell_of, codes)) {
      code = 0;
    } else {
      rows->array.release(&rows->array);
      columns->array.release(&columns->array);
    }
  }
  free(cell_of);
  free_numbers(&numbers);
  return code;
}
