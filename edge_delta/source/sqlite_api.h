/*
 * What columns.c needs of sqlite3ext.h. SQLite hands a loadable extension a table of functions whose places never change
 * ("new entries must be added at the end", sqlite3ext.h); those that are not used here are left without names.
 */
#ifndef SQLITE_API_H
#define SQLITE_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct sqlite3 sqlite3;
typedef struct sqlite3_context sqlite3_context;
typedef struct sqlite3_value sqlite3_value;
typedef void (*sqlite3_unused)(void);

typedef struct sqlite3_api_routines {
  void *(*aggregate_context)(sqlite3_context *, int bytes);
  sqlite3_unused unused_1[79];
  void (*result_error)(sqlite3_context *, const char *, int length);
  sqlite3_unused unused_81[4];
  void (*result_text)(sqlite3_context *, const char *, int length, void (*destroy)(void *));
  sqlite3_unused unused_86[15];
  void *(*user_data)(sqlite3_context *);
  const void *(*value_blob)(sqlite3_value *);
  int (*value_bytes)(sqlite3_value *);
  sqlite3_unused unused_104;
  double (*value_double)(sqlite3_value *);
  sqlite3_unused unused_106;
  int64_t (*value_int64)(sqlite3_value *);
  sqlite3_unused unused_108;
  const unsigned char *(*value_text)(sqlite3_value *);
  sqlite3_unused unused_110[3];
  int (*value_type)(sqlite3_value *);
  sqlite3_unused unused_114[23];
  void (*result_error_nomem)(sqlite3_context *);
  sqlite3_unused unused_138[24];
  int (*create_function_v2)(sqlite3 *, const char *name, int arguments, int flags, void *user_data,
                            void (*function)(sqlite3_context *, int, sqlite3_value **),
                            void (*step)(sqlite3_context *, int, sqlite3_value **), void (*finish)(sqlite3_context *),
                            void (*destroy)(void *));
} sqlite3_api_routines;

/* The last one: if a name were left out or in twice above, it would not be where it is. */
_Static_assert(offsetof(sqlite3_api_routines, create_function_v2) == 162 * sizeof(sqlite3_unused), "a place is wrong");

#define SQLITE_OK 0
#define SQLITE_NOMEM 7
#define SQLITE_OK_LOAD_PERMANENTLY 256

#define SQLITE_INTEGER 1
#define SQLITE_FLOAT 2
#define SQLITE_TEXT 3
#define SQLITE_BLOB 4

#define SQLITE_UTF8 1
#define SQLITE_DIRECTONLY 0x80000
#define SQLITE_STATIC ((void (*)(void *))0)

#endif
