/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions that C cannot write: after the system call in them a child may run on the caller's stack or on one of its own,
 * so they must have no frame then. x86-64 System V ABI.
 */
#include <asm/unistd.h>

#include "preload/syscall.h"

	.hidden	fn_syscall_table, fn_syscall_fail
	.hidden	fn_clone_before, fn_clone_over, fn_clone_parent, fn_clone_child
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
returned:
	cmpq	$-4095, %rax
	jae	2f
	ret
2:	movq	%rax, %rdi
	jmp	fn_syscall_fail
	.cfi_endproc
	.size	syscall, .-syscall

/* pid_t vfork(void) */
	.globl	vfork
	.type	vfork, @function
	.p2align 4
vfork:
	movl	$__NR_vfork, %edi
	jmp	fn_stub_clone
	.size	vfork, .-vfork
	.globl	__vfork
	.type	__vfork, @function
	.set	__vfork, vfork

/*
 * syscall() for vfork, clone and clone3: clone.c says what kind of child it is. One that shares the stack destroys the
 * return address there, so it is kept in a register that neither the kernel nor these calls use. A child on a stack of
 * its own returns to what lies there, as from libc's syscall().
 */
	.globl	fn_stub_clone
	.hidden	fn_stub_clone
	.type	fn_stub_clone, @function
	.p2align 4
fn_stub_clone:
	.cfi_startproc
	subq	$56, %rsp
	.cfi_adjust_cfa_offset 56
	movq	%rdi, (%rsp)
	movq	%rsi, 8(%rsp)
	movq	%rdx, 16(%rsp)
	movq	%rcx, 24(%rsp)
	movq	%r8, 32(%rsp)
	movq	%r9, 40(%rsp)
	movq	%rsp, %rdi
	call	fn_clone_before
	movl	%eax, %ecx
	movq	(%rsp), %rax
	movq	8(%rsp), %rdi
	movq	16(%rsp), %rsi
	movq	24(%rsp), %rdx
	movq	32(%rsp), %r10
	movq	40(%rsp), %r8
	addq	$56, %rsp
	.cfi_adjust_cfa_offset -56
	cmpl	$FN_CLONE_BARE, %ecx
	je	bare
	cmpl	$FN_CLONE_BARE_STACK, %ecx
	je	bare_stack
	cmpl	$FN_CLONE_MEMBER, %ecx
	je	member
	cmpl	$FN_CLONE_FORK, %ecx
	je	fork@PLT
	cmpl	$FN_CLONE_REFUSED, %ecx
	je	refused
	syscall
	jmp	returned

bare:	popq	%r9
	.cfi_adjust_cfa_offset -8
	.cfi_register %rip, %r9
	syscall
	pushq	%r9
	.cfi_adjust_cfa_offset 8
	.cfi_offset %rip, -8
	testq	%rax, %rax
	jnz	over
	ret

bare_stack:
	syscall
	testq	%rax, %rax
	jnz	over
	ret

over:	movq	%rax, %rdi
	jmp	fn_clone_over

member:	syscall
	testq	%rax, %rax
	jz	1f
	movq	%rax, %rdi
	jmp	fn_clone_parent
1:	pushq	%rbp
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset %rbp, 0
	movq	%rsp, %rbp
	.cfi_def_cfa_register %rbp
	andq	$-16, %rsp		/* whatever the program has made of its child's stack */
	call	fn_clone_child
	xorl	%eax, %eax
	leave
	.cfi_def_cfa %rsp, 8
	ret

refused:
	movq	$-1, %rax
	ret
	.cfi_endproc
	.size	fn_stub_clone, .-fn_stub_clone

	.section .note.GNU-stack, "", @progbits
