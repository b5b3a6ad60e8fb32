/* SPDX-License-Identifier: BSD-3-Clause */
/* What the tools want to know of an ELF file: who interprets it, and where a data symbol lies. The file is input from
 * outside: every offset is checked. */
#ifndef FN_ELF_FILE_H
#define FN_ELF_FILE_H

#include <elf.h>

#include "stack/compiler.h"

struct fn_elf {
	const uint8_t *data;		/* the whole file, mapped */
	size_t size;
	const Elf64_Ehdr *ehdr;
	const Elf64_Phdr *phdr;		/* ehdr->e_phnum of them */
};

enum fn_elf_kind {
	FN_ELF_OK,		/* x86-64, little endian; open */
	FN_ELF_OTHER,		/* an ELF file of another class or machine */
	FN_ELF_NOT,		/* no ELF file, or a damaged one */
	FN_ELF_ERROR,		/* cannot be read: errno */
};

/* Only FN_ELF_OK needs fn_elf_close(). */
enum fn_elf_kind fn_elf_open(struct fn_elf *e, const char *path);
void fn_elf_close(struct fn_elf *e);

/* The program interpreter's path, inside the mapping; NULL: none (a static program, or no program). */
const char *fn_elf_interp(const struct fn_elf *e);

/* Virtual address of the dynamic data symbol, *size its size; 0: there is none. */
uint64_t fn_elf_symbol(const struct fn_elf *e, const char *name, uint64_t *size);

/* Virtual address that the first loadable segment is linked to (page-aligned): a mapping's start minus it is the bias. */
uint64_t fn_elf_base(const struct fn_elf *e);

#endif
