/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The copy of user.h, for x86-64: up to 256 bytes and from 2 to 64 KiB here, else libc's once both ends have been looked
 * at (user.c). At every access that may fault %rdi and %rsi are where the bytes that are not copied yet begin, and %rdx is
 * how many they are: so one place mends them all, by copying what is left byte by byte until it faults again. What is of a
 * segment's size is not looked at before: one end is a packet's buffer, whose lines are another core's most often, and each
 * look is a cache miss that is waited for.
 */
	.text
	.hidden	fn_user_copy, fn_user_readable, fn_user_begin, fn_user_end, fn_user_bytes, fn_user_slow, fn_user_slow_end
	.hidden	fn_user_probe, fn_user_probe_end, fn_user_probed, fn_user_copy_large

/* size_t fn_user_copy(void *to %rdi, const void *from %rsi, size_t n %rdx) */
	.globl	fn_user_copy, fn_user_begin, fn_user_end, fn_user_bytes, fn_user_slow, fn_user_slow_end
	.type	fn_user_copy, @function
	.p2align 4
fn_user_copy:
	.cfi_startproc
	cmpq	$32, %rdx
	jbe	3f
fn_user_begin:
	movups	(%rsi), %xmm0
	movups	16(%rsi), %xmm1
	cmpq	$64, %rdx
	ja	1f
	movups	-32(%rsi,%rdx), %xmm2
	movups	-16(%rsi,%rdx), %xmm3
	movups	%xmm0, (%rdi)
	movups	%xmm1, 16(%rdi)
	movups	%xmm2, -32(%rdi,%rdx)
	movups	%xmm3, -16(%rdi,%rdx)
	xorl	%eax, %eax
	ret
1:	cmpq	$256, %rdx
	jbe	2f
	cmpq	$2048, %rdx
	jb	fn_user_copy_large
	cmpq	$65536, %rdx
	ja	fn_user_copy_large
2:	movups	(%rsi), %xmm0
	movups	16(%rsi), %xmm1
	movups	%xmm0, (%rdi)
	movups	%xmm1, 16(%rdi)
	addq	$32, %rsi
	addq	$32, %rdi
	subq	$32, %rdx
	cmpq	$32, %rdx
	ja	2b
	movups	-32(%rsi,%rdx), %xmm0
	movups	-16(%rsi,%rdx), %xmm1
	movups	%xmm0, -32(%rdi,%rdx)
	movups	%xmm1, -16(%rdi,%rdx)
	xorl	%eax, %eax
	ret
3:	cmpl	$16, %edx
	jb	4f
	movups	(%rsi), %xmm0
	movups	-16(%rsi,%rdx), %xmm1
	movups	%xmm0, (%rdi)
	movups	%xmm1, -16(%rdi,%rdx)
	xorl	%eax, %eax
	ret
4:	cmpl	$8, %edx
	jb	5f
	movq	(%rsi), %rax
	movq	-8(%rsi,%rdx), %rcx
	movq	%rax, (%rdi)
	movq	%rcx, -8(%rdi,%rdx)
	xorl	%eax, %eax
	ret
5:	cmpl	$4, %edx
	jb	6f
	movl	(%rsi), %eax
	movl	-4(%rsi,%rdx), %ecx
	movl	%eax, (%rdi)
	movl	%ecx, -4(%rdi,%rdx)
	xorl	%eax, %eax
	ret
6:	testl	%edx, %edx
	jz	7f
	movl	%edx, %r9d
	shrl	$1, %r9d
	movzbl	(%rsi), %eax
	movzbl	-1(%rsi,%rdx), %ecx
	movzbl	(%rsi,%r9), %r8d
	movb	%al, (%rdi)
	movb	%r8b, (%rdi,%r9)
	movb	%cl, -1(%rdi,%rdx)
7:	xorl	%eax, %eax
	ret
fn_user_end:
/* the same by bytes */
fn_user_bytes:
	movq	%rdx, %rcx
fn_user_slow:
	rep movsb
fn_user_slow_end:
	movq	%rcx, %rax
	ret
	.cfi_endproc
	.size	fn_user_copy, .-fn_user_copy

/* size_t fn_user_readable(const void *p %rdi, size_t n %rsi): the first byte, then the first of each page behind it */
	.globl	fn_user_readable, fn_user_probe, fn_user_probe_end, fn_user_probed
	.type	fn_user_readable, @function
	.p2align 4
fn_user_readable:
	.cfi_startproc
	movq	%rdi, %rcx
	leaq	(%rdi,%rsi), %rdx
1:	cmpq	%rdx, %rcx
	jae	2f
fn_user_probe:
	movzbl	(%rcx), %eax
fn_user_probe_end:
	addq	$4096, %rcx
	andq	$-4096, %rcx
	jmp	1b
2:	movq	%rsi, %rax
	ret
fn_user_probed:
	movq	%rcx, %rax
	subq	%rdi, %rax
	ret
	.cfi_endproc
	.size	fn_user_readable, .-fn_user_readable

	.section .note.GNU-stack,"",@progbits
