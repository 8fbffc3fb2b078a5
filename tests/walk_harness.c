/* Makes the calls of compiled code that its input tells, on memory of exactly the sizes that it tells, so that a
   sanitizer sees each access beyond them; or, linked with a compiled walk, on a machine without Python.
   tests/walkcalls.py writes the input:

     buffer SIZE          and behind the line so many bytes: memory that has them; numbered from 0 on
     point I AT J BYTES   at AT of buffer I goes the address of byte BYTES of buffer J
     call NAME COUNT ...  so many arguments, each a number, or I+BYTES: an address in buffer I
     done                 the buffers are shown, without what `point` has set, and freed

   It says `returned N` after each call, and of the buffers their bytes alone.  */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUFFERS = 256, POINTS = 256, ARGUMENTS = 8 };

typedef uint64_t u64;
typedef u64 function (u64, u64, u64, u64, u64, u64, u64, u64);

static unsigned char *buffers[BUFFERS];
static u64 sizes[BUFFERS], used;
static unsigned char *points[POINTS];
static u64 pointed;

static void expect (int good, const char *what)
{
  if (!good)
    {
      fprintf (stderr, "walk_harness: %s\n", what);
      exit (2);
    }
}

static u64 number (void)
{
  u64 value;
  expect (scanf ("%" SCNu64, &value) == 1, "a number is missing");
  return value;
}

static unsigned char *place (u64 buffer, u64 at)
{
  expect (buffer < used && at <= sizes[buffer], "no such place");
  return buffers[buffer] + at;
}

static void fill (void)
{
  expect (used < BUFFERS, "too many buffers");
  u64 size = number ();
  buffers[used] = malloc (size);
  expect (buffers[used] && getchar () == '\n', "no memory, or no line");
  expect (fread (buffers[used], 1, size, stdin) == size, "the buffer isn't whole");
  sizes[used++] = size;
}

static void point (void)
{
  u64 buffer = number (), at = number (), to = number (), bytes = number ();
  unsigned char *address = place (to, bytes);
  expect (pointed < POINTS, "too many points");
  expect (place (buffer, at + sizeof address) != NULL, "no room");
  memcpy (place (buffer, at), &address, sizeof address);
  points[pointed++] = place (buffer, at);
}

static void call (void)
{
  char name[64], word[64];
  expect (scanf ("%63s", name) == 1, "a name is missing");
  u64 arguments[ARGUMENTS] = { 0 }, count = number ();
  expect (count <= ARGUMENTS, "too many arguments");
  for (u64 i = 0; i < count; i++)
    {
      expect (scanf ("%63s", word) == 1, "an argument is missing");
      char *rest;
      arguments[i] = strtoull (word, &rest, 10);
      if (*rest == '+')
        arguments[i] = (u64) (uintptr_t) place (arguments[i], strtoull (rest + 1, NULL, 10));
    }
  function *called;
  *(void **) &called = dlsym (RTLD_DEFAULT, name);
  expect (called != NULL, "no such function");
  u64 *a = arguments;
  printf ("returned %" PRIu64 "\n", called (a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]));
}

static void finish (void)
{
  for (u64 i = 0; i < pointed; i++)
    memset (points[i], 0, sizeof (void *));
  for (u64 i = 0; i < used; i++)
    {
      fwrite (buffers[i], 1, sizes[i], stdout);
      free (buffers[i]);
    }
  used = pointed = 0;
  fflush (stdout);
}

int main (void)
{
  char word[16];
  while (scanf ("%15s", word) == 1)
    if (!strcmp (word, "buffer"))
      fill ();
    else if (!strcmp (word, "point"))
      point ();
    else if (!strcmp (word, "call"))
      call ();
    else if (!strcmp (word, "done"))
      finish ();
    else
      expect (0, word);
  return 0;
}
