/* For programs that know what is referred to: nothing is to be left of what they did. */
#ifndef SCRUB_H
#define SCRUB_H

#include <stddef.h>

/* Leave nothing of what was called before in registers, nor below the stack pointer. */
__attribute__((noinline)) static void scrub(void)
{
	volatile char below[48 << 10];
	for (size_t i = 0; i < sizeof below; i++)
		below[i] = 0;
#ifdef __x86_64__
	__asm__ volatile("xor %%ecx, %%ecx; xor %%edx, %%edx; xor %%esi, %%esi; xor %%edi, %%edi\n\t"
			 "xor %%r8d, %%r8d; xor %%r9d, %%r9d; xor %%r10d, %%r10d; xor %%r11d, %%r11d"
			 ::: "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11");
	if (__builtin_cpu_supports("avx512f"))
		__asm__ volatile("vpxorq %zmm16, %zmm16, %zmm16; vpxorq %zmm17, %zmm17, %zmm17\n\t"
				 "vpxorq %zmm18, %zmm18, %zmm18; vpxorq %zmm19, %zmm19, %zmm19\n\t"
				 "vpxorq %zmm20, %zmm20, %zmm20; vpxorq %zmm21, %zmm21, %zmm21\n\t"
				 "vpxorq %zmm22, %zmm22, %zmm22; vpxorq %zmm23, %zmm23, %zmm23\n\t"
				 "vpxorq %zmm24, %zmm24, %zmm24; vpxorq %zmm25, %zmm25, %zmm25\n\t"
				 "vpxorq %zmm26, %zmm26, %zmm26; vpxorq %zmm27, %zmm27, %zmm27\n\t"
				 "vpxorq %zmm28, %zmm28, %zmm28; vpxorq %zmm29, %zmm29, %zmm29\n\t"
				 "vpxorq %zmm30, %zmm30, %zmm30; vpxorq %zmm31, %zmm31, %zmm31");
	if (__builtin_cpu_supports("avx"))
		__asm__ volatile("vzeroall");
	else
		__asm__ volatile("pxor %xmm0, %xmm0; pxor %xmm1, %xmm1; pxor %xmm2, %xmm2; pxor %xmm3, %xmm3");
#endif
}

#endif
