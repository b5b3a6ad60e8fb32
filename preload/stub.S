/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Two functions that C cannot write: after the system call in them a child may run on the caller's stack, so they must
 * have no frame. x86-64 System V ABI.
 */
#include <asm/unistd.h>

#include "preload/syscall.h"

	.hidden	fn_syscall_table, fn_syscall_fail, fn_shim_active
	.text

/* long syscall(long n, ...): the function for n, else the kernel. Arguments lie where seven longs would. */
	.globl	syscall
	.type	syscall, @function
	.p2align 4
syscall:
	.cfi_startproc
	cmpq	$FN_SYSCALL_TABLE, %rdi
	jae	1f
	leaq	fn_syscall_table(%rip), %rax
	movq	(%rax,%rdi,8), %rax
	testq	%rax, %rax
	jz	1f
	jmp	*%rax
1:	movq	%rdi, %rax
	movq	%rsi, %rdi
	movq	%rdx, %rsi
	movq	%rcx, %rdx
	movq	%r8, %r10
	movq	%r9, %r8
	movq	8(%rsp), %r9
	syscall
	cmpq	$-4095, %rax
	jae	2f
	ret
2:	movq	%rax, %rdi
	jmp	fn_syscall_fail
	.cfi_endproc
	.size	syscall, .-syscall

/*
 * pid_t vfork(void): while we are active a fork, for a child that shares memory would act on its parent's tables.
 * Inert, the real one: the return address is kept in a register, since the child's return destroys it on the stack.
 */
	.globl	vfork
	.type	vfork, @function
	.p2align 4
vfork:
	.cfi_startproc
	cmpb	$0, fn_shim_active(%rip)
	jne	fork@PLT
	popq	%rdx
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %rdx
	movl	$__NR_vfork, %eax
	syscall
	pushq	%rdx
	.cfi_adjust_cfa_offset 8
	cmpq	$-4095, %rax
	jae	2b
	ret
	.cfi_endproc
	.size	vfork, .-vfork
	.globl	__vfork
	.type	__vfork, @function
	.set	__vfork, vfork

	.section .note.GNU-stack, "", @progbits
