/* A library that holds what its user puts there: in its data, and in the TLS of the thread that asks. It is loaded late,
   so that its TLS is made late, too, for each thread by itself. */
#include <stdlib.h>

void *held[4];
static __thread void *tls[100];

void **held_tls(void)
{
	return &tls[50];
}

/* A chunk of the malloc that the library has. */
void *held_new(size_t size)
{
	return malloc(size);
}
