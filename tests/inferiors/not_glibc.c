/* A process without any libc: it says "ready" and sleeps for ever. */
static long call(long number, long a, long b, long c)
{
#if defined __x86_64__
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "0"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
#elif defined __i386__
	long result;
	__asm__ volatile("int $0x80" : "=a"(result) : "0"(number), "b"(a), "c"(b), "d"(c) : "memory");
	return result;
#elif defined __aarch64__
	register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = 0;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#else
#error "no system calls for this architecture"
#endif
}

#if defined __x86_64__
enum { WRITE = 1, SLEEP = 34 /* pause */ };
#elif defined __i386__
enum { WRITE = 4, SLEEP = 29 /* pause */ };
#elif defined __aarch64__
enum { WRITE = 64, SLEEP = 73 /* ppoll */ };
#endif

_Noreturn void _start(void)
{
	static const char ready[] = "ready\n";
	call(WRITE, 1, (long) ready, sizeof ready - 1);
	for (;;)
		call(SLEEP, 0, 0, 0);
}
