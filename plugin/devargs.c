/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port's device string, "net_af_packet0,iface=veth1,framesz=2048": taken apart, checked, and completed with what the
 * user need not know. DPDK's own parsers accept, and silently fail on, much that is refused here.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin/dpdk.h"

#define FRAME_ROOM	2048	/* what drivers expect at least */
#define BUFFERS		16383	/* 2^n - 1 fits mempool's ring best */
#define BUFFERS_BYTES	(48u << 20)	/* what they take at most unless the user says a number */
#define XDP_HEADROOM	256	/* XDP_PACKET_HEADROOM: the kernel leaves it in front of a frame */

/* PACKET_MMAP: what stands in front of a frame in its slot (TPACKET_V2 header, address, alignment), and VLAN tag. */
#define SLOT_OVERHEAD	80
#define SLOT_ALIGN	16	/* TPACKET_ALIGNMENT */
#define PAGE		4096u

static const struct {
	const char *prefix;
	enum dpdk_driver driver;
} drivers[] = {
	{ "net_af_packet", DRIVER_AF_PACKET },
	{ "eth_af_packet", DRIVER_AF_PACKET },
	{ "net_af_xdp", DRIVER_AF_XDP },
	{ "net_tap", DRIVER_TAP },
};

/* "0000:01:00.0" or "01:00.0" */
static bool is_pci(const char *name)
{
	unsigned a, b, c, d;
	int end = 0;

	if (sscanf(name, "%x:%x:%x.%x%n", &a, &b, &c, &d, &end) == 4 && !name[end])
		return true;
	end = 0;
	return sscanf(name, "%x:%x.%x%n", &a, &b, &c, &end) == 3 && !name[end];
}

/* The value of key in "key=value,key=value", copied to buf; false: not there. */
static bool get_arg(const char *args, const char *key, char *buf, size_t len)
{
	size_t klen = strlen(key);

	for (const char *p = args; p && *p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
		if (!strncmp(p, key, klen) && p[klen] == '=') {
			snprintf(buf, len, "%.*s", (int)strcspn(p + klen + 1, ","), p + klen + 1);
			return true;
		}
	}
	return false;
}

/* A positive number; 0: not there; -EINVAL and err. */
static int get_uint(const struct dpdk_devargs *d, const char *key, uint32_t *value, char *err, size_t errlen)
{
	char text[32], *end;
	unsigned long v;

	*value = 0;
	if (!get_arg(d->args, key, text, sizeof(text)))
		return 0;
	v = strtoul(text, &end, 10);
	if (*end || !v || v > INT32_MAX) {
		snprintf(err, errlen, "%s: %s=%s: expected a positive number", d->name, key, text);
		return -EINVAL;
	}
	*value = (uint32_t)v;
	return 0;
}

__attribute__((format(printf, 2, 3)))
static void add_arg(struct dpdk_devargs *d, const char *fmt, ...)
{
	size_t len = strlen(d->args);
	va_list ap;

	if (len && len + 1 < sizeof(d->args))
		d->args[len++] = ',';
	va_start(ap, fmt);
	vsnprintf(d->args + len, sizeof(d->args) - len, fmt, ap);
	va_end(ap);
}

/* A slot must show that a frame is too large: it holds more than a frame of mtu bytes with its VLAN tag. */
static uint32_t slot_for(uint32_t mtu)
{
	uint32_t need = mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + 1 + SLOT_OVERHEAD;

	return need <= 2048 ? 2048 : RTE_ALIGN_CEIL(need, PAGE);
}

/*
 * Slots, blocks and their number. A slot size that does not divide the block's makes the kernel and the driver disagree
 * on where slots lie: receiving stalls without a word.
 */
static int complete_af_packet(struct dpdk_devargs *d, uint32_t mtu, char *err, size_t errlen)
{
	uint32_t framesz, blocksz, framecnt, per_block;

	if (get_uint(d, "framesz", &framesz, err, errlen) || get_uint(d, "blocksz", &blocksz, err, errlen) ||
	    get_uint(d, "framecnt", &framecnt, err, errlen) || get_uint(d, "qpairs", &d->qpairs, err, errlen))
		return -EINVAL;
	d->framesz = framesz ? framesz : slot_for(mtu);
	if (!blocksz && !(d->framesz % PAGE)) {
		blocksz = d->framesz;
		add_arg(d, "blocksz=%u", blocksz);
	} else if (!blocksz) {
		blocksz = RTE_MAX(d->framesz * 16, PAGE);
		add_arg(d, "blocksz=%u", blocksz);
	}
	if (!framesz)
		add_arg(d, "framesz=%u", d->framesz);
	if (blocksz % PAGE || blocksz % d->framesz || d->framesz % SLOT_ALIGN) {
		snprintf(err, errlen, "%s: framesz=%u must be a multiple of %u that divides blocksz=%u, a multiple of %u",
			 d->name, d->framesz, SLOT_ALIGN, blocksz, PAGE);
		return -EINVAL;
	}
	if (d->framesz < mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + 1 + SLOT_OVERHEAD) {
		snprintf(err, errlen, "%s: framesz=%u is too small for an MTU of %u (at least %u)", d->name, d->framesz, mtu,
			 mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN + 1 + SLOT_OVERHEAD);
		return -EINVAL;
	}
	per_block = blocksz / d->framesz;
	d->framecnt = framecnt ? framecnt : RTE_ALIGN_CEIL(1024u, per_block);
	if (!framecnt)
		add_arg(d, "framecnt=%u", d->framecnt);
	if (d->framecnt % per_block) {
		snprintf(err, errlen, "%s: framecnt=%u must be a multiple of the %u frames of a block", d->name, d->framecnt,
			 per_block);
		return -EINVAL;
	}
	return 0;
}

/* The interface must be there, and no MTU may be asked for that it does not carry. */
static int check_iface(const struct dpdk_devargs *d, uint32_t want_mtu, uint32_t *mtu, char *err, size_t errlen)
{
	if (!d->ifname[0]) {
		snprintf(err, errlen, "%s: expected iface=INTERFACE", d->name);
		return -EINVAL;
	}
	*mtu = dpdk_iface_mtu(d->ifname);
	if (!*mtu) {
		snprintf(err, errlen, "%s: there is no interface %s in this network namespace", d->name, d->ifname);
		return -ENODEV;
	}
	if (want_mtu > *mtu) {
		snprintf(err, errlen, "%s: mtu = %u, but interface %s carries %u", d->name, want_mtu, d->ifname, *mtu);
		return -EINVAL;
	}
	if (want_mtu)
		*mtu = want_mtu;
	return 0;
}

/* Busy polling (the driver's default) makes a system call of every look at an empty ring, and on veth it gains nothing:
 * off unless the user asks for it. */
static void complete_af_xdp(struct dpdk_devargs *d)
{
	char text[32];

	if (!get_arg(d->args, "busy_budget", text, sizeof(text)))
		add_arg(d, "busy_budget=0");
}

uint32_t dpdk_devargs_room(const struct dpdk_devargs *d, uint32_t frame)
{
	uint32_t room = frame;

	if (d->driver == DRIVER_AF_PACKET)
		room = fn_max(room, d->framesz);
	else if (d->driver == DRIVER_AF_XDP)
		room += XDP_HEADROOM;
	room = fn_max(room, (uint32_t)FRAME_ROOM);
	return RTE_ALIGN_CEIL(room, 64u);
}

/* Fewer buffers when they are large. */
static void size_buffers(struct dpdk_devargs *d, uint32_t want, uint32_t mtu)
{
	uint32_t n = BUFFERS;

	d->room = dpdk_devargs_room(d, (mtu ? mtu : RTE_ETHER_MTU) + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN);
	while ((uint64_t)n * d->room > BUFFERS_BYTES && n > 1023)
		n >>= 1;
	d->buffers = want ? want : n;
}

int dpdk_devargs_parse(struct dpdk_devargs *d, const struct fn_port_conf *conf, char *err, size_t errlen)
{
	const char *comma = strchr(conf->devargs, ',');
	size_t len = comma ? (size_t)(comma - conf->devargs) : strlen(conf->devargs);
	uint32_t mtu = conf->mtu;
	int rc = 0;

	memset(d, 0, sizeof(*d));
	d->driver = DRIVER_OTHER;
	if (!len || len >= sizeof(d->name) || (comma && strlen(comma + 1) >= sizeof(d->args) / 2)) {
		snprintf(err, errlen, "expected a device as DPDK names it, not \"%s\"", conf->devargs);
		return -EINVAL;
	}
	memcpy(d->name, conf->devargs, len);
	snprintf(d->args, sizeof(d->args), "%s", comma ? comma + 1 : "");
	d->pci = is_pci(d->name);
	for (size_t i = 0; i < fn_array_size(drivers); i++)
		if (!strncmp(d->name, drivers[i].prefix, strlen(drivers[i].prefix)))
			d->driver = drivers[i].driver;
	if (d->driver != DRIVER_OTHER)
		get_arg(d->args, "iface", d->ifname, sizeof(d->ifname));
	if (d->driver == DRIVER_AF_PACKET || d->driver == DRIVER_AF_XDP)
		rc = check_iface(d, conf->mtu, &mtu, err, errlen);
	if (!rc && d->driver == DRIVER_AF_PACKET)
		rc = complete_af_packet(d, mtu, err, errlen);
	else if (!rc && d->driver == DRIVER_AF_XDP)
		complete_af_xdp(d);
	size_buffers(d, conf->buffers, mtu);
	return rc;
}
