/* SPDX-License-Identifier: BSD-3-Clause */
/* ELF files, read with suspicion. gABI chapters 4 and 5; the x86-64 psABI for the page size. */
#include "tools/elf_file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* len bytes at file offset off, or NULL when they are not all in the file. */
static const void *at(const struct fn_elf *e, uint64_t off, uint64_t len)
{
	return off <= e->size && len <= e->size - off ? e->data + off : NULL;
}

static enum fn_elf_kind check(struct fn_elf *e)
{
	const Elf64_Ehdr *h;

	if (e->size < EI_NIDENT || memcmp(e->data, ELFMAG, SELFMAG))
		return FN_ELF_NOT;
	if (e->data[EI_CLASS] != ELFCLASS64 || e->data[EI_DATA] != ELFDATA2LSB)
		return FN_ELF_OTHER;
	h = at(e, 0, sizeof *h);
	if (!h)
		return FN_ELF_NOT;
	if (h->e_machine != EM_X86_64)
		return FN_ELF_OTHER;
	e->ehdr = h;
	e->phdr = at(e, h->e_phoff, (uint64_t)h->e_phnum * sizeof(Elf64_Phdr));
	if (!e->phdr || h->e_phentsize != sizeof(Elf64_Phdr) || h->e_phoff % 8)
		return FN_ELF_NOT;
	return FN_ELF_OK;
}

enum fn_elf_kind fn_elf_open(struct fn_elf *e, const char *path)
{
	enum fn_elf_kind kind;
	struct stat st;
	void *map;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	memset(e, 0, sizeof *e);
	if (fd < 0)
		return FN_ELF_ERROR;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size == 0) {
		close(fd);
		return FN_ELF_NOT;
	}
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	close(fd);
	if (map == MAP_FAILED)
		return FN_ELF_ERROR;
	e->data = map;
	e->size = (size_t)st.st_size;
	kind = check(e);
	if (kind != FN_ELF_OK)
		fn_elf_close(e);
	return kind;
}

void fn_elf_close(struct fn_elf *e)
{
	munmap((void *)e->data, e->size);
	e->data = NULL;
}

const char *fn_elf_interp(const struct fn_elf *e)
{
	for (unsigned i = 0; i < e->ehdr->e_phnum; i++) {
		const Elf64_Phdr *p = &e->phdr[i];
		const char *path;

		if (p->p_type != PT_INTERP)
			continue;
		path = at(e, p->p_offset, p->p_filesz);
		return path && p->p_filesz && !path[p->p_filesz - 1] ? path : NULL;
	}
	return NULL;
}

uint64_t fn_elf_base(const struct fn_elf *e)
{
	for (unsigned i = 0; i < e->ehdr->e_phnum; i++)
		if (e->phdr[i].p_type == PT_LOAD)
			return e->phdr[i].p_vaddr & ~(uint64_t)4095;
	return 0;
}

/* The section of that type, and the one it links to. */
static const Elf64_Shdr *find_dynsym(const struct fn_elf *e, const Elf64_Shdr **strings)
{
	const Elf64_Ehdr *h = e->ehdr;
	const Elf64_Shdr *s = at(e, h->e_shoff, (uint64_t)h->e_shnum * sizeof *s);

	if (!s || h->e_shentsize != sizeof *s || h->e_shoff % 8)
		return NULL;
	for (unsigned i = 0; i < h->e_shnum; i++)
		if (s[i].sh_type == SHT_DYNSYM && s[i].sh_link < h->e_shnum && s[i].sh_entsize == sizeof(Elf64_Sym)) {
			*strings = &s[s[i].sh_link];
			return &s[i];
		}
	return NULL;
}

uint64_t fn_elf_symbol(const struct fn_elf *e, const char *name, uint64_t *size)
{
	const Elf64_Shdr *strings = NULL, *section = find_dynsym(e, &strings);
	const Elf64_Sym *sym = section ? at(e, section->sh_offset, section->sh_size) : NULL;
	const char *text = strings ? at(e, strings->sh_offset, strings->sh_size) : NULL;
	size_t len = strlen(name) + 1;

	if (!sym || !text || section->sh_offset % 8)
		return 0;
	for (uint64_t i = 0; i < section->sh_size / sizeof *sym; i++) {
		const Elf64_Sym *s = &sym[i];

		if (ELF64_ST_TYPE(s->st_info) != STT_OBJECT || s->st_shndx == SHN_UNDEF || s->st_name > strings->sh_size ||
		    len > strings->sh_size - s->st_name || memcmp(text + s->st_name, name, len))
			continue;
		*size = s->st_size;
		return s->st_value;
	}
	return 0;
}
