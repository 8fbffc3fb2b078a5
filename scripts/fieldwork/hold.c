/* Preloaded where a program is to do what an environment variable can't tell it.

   FIELD_TRIMMED=FILE: at SIGRTMIN+14 call malloc_trim(0), then make FILE. The program is quiet: no
   thread is inside malloc.
   FIELD_HOLD=FILE: at exit make FILE, and wait for a signal that ends the process.
   FIELD_NO_HUGE_PAGES: call prctl(PR_SET_THP_DISABLE).  */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

/* Copies: servers write their titles over the environment.  */
static char trimmed[4096], held[4096];

static int
given (const char *name, char *copy)
{
  const char *value = getenv (name);
  return value && snprintf (copy, sizeof trimmed, "%s", value) > 0;
}

static void
make (const char *file)
{
  close (open (file, O_CREAT | O_WRONLY, 0644));
}

static void
trim (int unused)
{
  (void) unused;
  malloc_trim (0);
  make (trimmed);
}

static void
hold (void)
{
  make (held);
  for (;;)
    pause ();
}

__attribute__ ((constructor)) static void
start (void)
{
  if (getenv ("FIELD_NO_HUGE_PAGES"))
    prctl (PR_SET_THP_DISABLE, 1, 0, 0, 0);
  struct sigaction action = { .sa_handler = trim, .sa_flags = SA_RESTART };
  if (given ("FIELD_TRIMMED", trimmed))
    sigaction (SIGRTMIN + 14, &action, NULL);
  if (given ("FIELD_HOLD", held))
    atexit (hold);
}
