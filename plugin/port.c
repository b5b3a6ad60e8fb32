/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Making and closing a port: from a device string to a started ethdev with its buffers, offloads, address and MTU. What
 * it does to the process (descriptors, signal dispositions) is undone or kept out of the program's way.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_malloc.h>
#include <rte_mbuf_pool_ops.h>

#include "plugin/dpdk.h"

#define RING_DEFAULT	1024	/* descriptors a queue where the device has no preference */
#define RING_SHARE	2	/* receive rings take one in so many of the buffers at most */
#define XDP_FILL	2048u	/* buffers a queue of net_af_xdp gives to the kernel (ETH_AF_XDP_DFLT_NUM_DESCS) */
#define POOL_CACHE	RTE_MEMPOOL_CACHE_MAX_SIZE
#define RSS_KEY_LEN	40
#define TSO_BUFFERS	64u	/* of a packet that the device cuts: 64 KiB in segments of 1,448 bytes are 46 */

/* What .open works on. */
struct opening {
	const struct fn_port_conf *conf;
	struct dpdk_devargs dev;
	struct dpdk_fdset before, plugged;
	struct rte_eth_dev_info info;
	struct sigaction rt_action[NSIG];
	struct dpdk_port *port;
	struct fn_nic *nic;
	char *err;
	size_t errlen;
};

__attribute__((format(printf, 3, 4)))
static int fail(const struct opening *o, int rc, const char *fmt, ...)
{
	char text[160];
	va_list ap;
	const char *kept = dpdk_log_kept();

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(o->err, o->errlen, "%s: %s: %s%s%s%s", o->dev.name, text, rte_strerror(rc < 0 ? -rc : rc),
		 kept[0] ? " (" : "", kept, kept[0] ? ")" : "");
	return rc < 0 ? rc : -EIO;
}

/* ---- signals: net_tap takes a real-time signal that has no handler, and interrupts the program with every frame ---- */

static void signals_hide(struct opening *o)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		if (!sigaction(sig, NULL, &o->rt_action[sig]) && o->rt_action[sig].sa_handler == SIG_DFL)
			sigaction(sig, &ignore, NULL);
}

static void signals_restore(const struct opening *o)
{
	for (int sig = SIGRTMIN; sig <= SIGRTMAX; sig++)
		if (o->rt_action[sig].sa_handler == SIG_DFL)
			sigaction(sig, &o->rt_action[sig], NULL);
}

/* ---- device ---- */

static int probe(struct opening *o)
{
	char devargs[sizeof(o->dev.name) + sizeof(o->dev.args) + 1];
	int rc;

	snprintf(devargs, sizeof(devargs), "%s%s%s", o->dev.name, o->dev.args[0] ? "," : "", o->dev.args);
	fn_log(FN_PLUGIN_DEBUG, "probing %s", devargs);
	dpdk_log_keep();
	rc = rte_dev_probe(devargs);
	if (rc)
		return fail(o, rc, "the device cannot be opened");
	if (rte_eth_dev_get_port_by_name(o->dev.name, &o->port->id)) {
		uint16_t id;

		RTE_ETH_FOREACH_DEV(id) {
			if (!rte_eth_dev_info_get(id, &o->info) && !strcmp(rte_dev_name(o->info.device), o->dev.name))
				goto found;
		}
		return fail(o, -ENODEV, "no Ethernet device came of it");
found:
		o->port->id = id;
	}
	rc = rte_eth_dev_info_get(o->port->id, &o->info);
	if (rc)
		return fail(o, rc, "no information about the device");
	snprintf(o->port->dev_name, sizeof(o->port->dev_name), "%s", rte_dev_name(o->info.device));
	snprintf(o->port->driver_name, sizeof(o->port->driver_name), "%s", o->info.driver_name);
	if (o->info.if_index)
		if_indextoname(o->info.if_index, o->port->ifname);
	return 0;
}

static uint32_t object_size(uint32_t room)
{
	return (uint32_t)sizeof(struct rte_mbuf) + FN_PKT_PRIV_SIZE + RTE_PKTMBUF_HEADROOM + room;
}

/* The MTU: a tap or a real device is set to the configured one; an interface of the kernel's is left as it is. */
static int settle_mtu(struct opening *o)
{
	uint32_t want = o->conf->mtu;
	uint16_t mtu = RTE_ETHER_MTU;
	int rc;

	if (o->port->driver == DRIVER_AF_PACKET || o->port->driver == DRIVER_AF_XDP) {
		/* AF_XDP: a whole object of the pool is one frame of the kernel's, at most a page. */
		uint32_t object = rte_mempool_calc_obj_size(object_size(o->dev.room), 0, NULL);

		mtu = (uint16_t)(want ? want : dpdk_iface_mtu(o->dev.ifname));
		if (o->port->driver == DRIVER_AF_XDP && object > RTE_PGSIZE_4K)
			return fail(o, -EINVAL, "an MTU of %u does not fit into AF_XDP's frames: set a smaller mtu, 3200 at most", mtu);
	} else {
		rc = want ? rte_eth_dev_set_mtu(o->port->id, (uint16_t)want) : 0;
		if (rc)
			return fail(o, rc, "mtu = %u is refused by the device", want);
		rte_eth_dev_get_mtu(o->port->id, &mtu);
	}
	o->nic->mtu = mtu;
	o->port->frame_max = mtu + RTE_ETHER_HDR_LEN + RTE_VLAN_HLEN;
	return 0;
}

/* Memory for the buffers: huge pages that have gone since EAL began are no reason to fail, where no device reads them. */
static int populate(struct opening *o)
{
	struct dpdk_port *port = o->port;
	int rc = rte_mempool_populate_default(port->pool);

	if (rc >= 0 || !port->pub.hugepages || o->conf->hugepages != FN_PORT_HUGE_AUTO || o->dev.pci)
		return rc;
	fn_log(FN_PLUGIN_INFO, "%s: buffers without huge pages: others have taken them", o->conf->name);
	port->pub.hugepages = false;
	rc = rte_mempool_populate_anon(port->pool);
	return rc > 0 ? rc : -rte_errno;
}

/* With no more than its fill rings take net_af_xdp does not start, or receives nothing: as many again are ours. */
static int enough_buffers(struct opening *o)
{
	uint32_t least = o->port->driver == DRIVER_AF_XDP ? 2 * XDP_FILL * o->port->nb_rxq - 1 : 0;

	if (o->dev.buffers >= least)
		return 0;
	return fail(o, -EINVAL, "%u buffers are too few for the device's rings: buffers = %u at least", o->dev.buffers,
		    least);
}

/*
 * Buffers. One queue of equal objects without gaps (AF_XDP makes it its frame area; that is what NO_IOVA_CONTIG is for,
 * where no device needs physical addresses), and without atomic operations: everything is under the stack's lock.
 */
static int make_pool(struct opening *o)
{
	static unsigned serial;
	struct dpdk_port *port = o->port;
	uint32_t n = o->dev.buffers;
	/* rte_mempool wants half as many again as the cache holds, and fastnet.conf(5) allows 512 */
	uint32_t cache = fn_min((uint32_t)POOL_CACHE, n / 2);
	uint32_t room = fn_max(o->dev.room, dpdk_devargs_room(&o->dev, port->frame_max));
	struct rte_pktmbuf_pool_private priv = { .mbuf_priv_size = FN_PKT_PRIV_SIZE };
	char name[RTE_MEMPOOL_NAMESIZE];
	struct rte_mempool_memhdr *mem;
	int rc;

	room = fn_min(room, (uint32_t)(UINT16_MAX - RTE_PKTMBUF_HEADROOM));
	priv.mbuf_data_room_size = (uint16_t)(room + RTE_PKTMBUF_HEADROOM);
	snprintf(name, sizeof(name), "fastnet%u", serial++);
	port->pool = rte_mempool_create_empty(name, n, object_size(room), cache, sizeof(priv), port->pub.numa_node,
					      o->dev.pci ? 0 : RTE_MEMPOOL_F_NO_IOVA_CONTIG);
	if (!port->pool)
		return fail(o, -rte_errno, "no memory for %u buffers", n);
	rte_mempool_set_ops_byname(port->pool, "ring_sp_sc", NULL);
	rte_pktmbuf_pool_init(port->pool, &priv);
	port->pub.hugepages = dpdk_eal_hugepages();
	rc = populate(o);
	if (rc < 0)
		return fail(o, rc, "no memory for %u buffers of %u bytes (buffers = N sets their number)", n, room);
	if (!port->pub.hugepages)
		STAILQ_FOREACH(mem, &port->pool->mem_list, next)
			dpdk_numa_bind(mem->addr, mem->len, port->pub.numa_node);
	rte_mempool_obj_iter(port->pool, rte_pktmbuf_init, NULL);
	o->nic->tx_payload = room;
	port->reserve = n / 4;
	return 0;
}

/* ---- ethdev configuration ---- */

/* tap's and af_packet's "offloads" are loops in the driver: the stack sums while it copies, which is cheaper. */
static uint64_t tx_offloads(const struct opening *o)
{
	uint64_t sums = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM | RTE_ETH_TX_OFFLOAD_TCP_CKSUM | RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
	uint64_t segs = RTE_ETH_TX_OFFLOAD_MULTI_SEGS, tso = segs | sums | RTE_ETH_TX_OFFLOAD_TCP_TSO, want = segs;
	bool device = o->port->driver == DRIVER_OTHER;

	if (device)
		want |= sums;
	/* a segment that the device makes needs its checksums, and the stack's chain of buffers */
	if ((o->info.tx_offload_capa & tso) == tso &&
	    (o->conf->tso == FN_PORT_TSO_ON || (o->conf->tso == FN_PORT_TSO_AUTO && device)))
		want |= tso;
	return want & o->info.tx_offload_capa;
}

static uint64_t rx_offloads(const struct opening *o)
{
	uint64_t want = 0;

	if (o->port->driver == DRIVER_OTHER)
		want = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM | RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM |
		       RTE_ETH_RX_OFFLOAD_RSS_HASH;
	return want & o->info.rx_offload_capa;
}

static bool use_rss(const struct opening *o)
{
	uint64_t hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP;

	return o->port->driver == DRIVER_OTHER && o->conf->rss_key && o->info.hash_key_size == RSS_KEY_LEN &&
	       (o->info.flow_type_rss_offloads & hf) == hf;
}

static uint32_t caps_of(uint64_t tx, uint64_t rx, bool rss)
{
	uint32_t caps = 0;

	if (tx & RTE_ETH_TX_OFFLOAD_IPV4_CKSUM)
		caps |= FN_NIC_TX_IP_CSUM;
	if (tx & RTE_ETH_TX_OFFLOAD_TCP_CKSUM)
		caps |= FN_NIC_TX_TCP_CSUM;
	if (tx & RTE_ETH_TX_OFFLOAD_UDP_CKSUM)
		caps |= FN_NIC_TX_UDP_CSUM;
	if (tx & RTE_ETH_TX_OFFLOAD_MULTI_SEGS)
		caps |= FN_NIC_TX_SEGS;
	if (tx & RTE_ETH_TX_OFFLOAD_TCP_TSO)
		caps |= FN_NIC_TX_TSO;
	if (rx & (RTE_ETH_RX_OFFLOAD_TCP_CKSUM | RTE_ETH_RX_OFFLOAD_UDP_CKSUM))
		caps |= FN_NIC_RX_CSUM;
	if (rx & RTE_ETH_RX_OFFLOAD_RSS_HASH && rss)
		caps |= FN_NIC_RX_HASH;
	return caps;
}

/*
 * Receive queues, and as many for sending, which drivers want (net_tap), and of which the first is used. The sockets of
 * net_af_packet share the traffic whether or not anybody asked: all of them are received from.
 */
static int settle_queues(const struct opening *o)
{
	uint32_t has = fn_min(o->info.max_rx_queues, o->info.max_tx_queues);
	uint32_t n = fn_max(o->conf->queues, 1u);

	has = fn_max(has, 1u);
	if (o->port->driver == DRIVER_AF_PACKET)
		n = fn_max(n, o->dev.qpairs);
	if (n > has)
		return fail(o, -EINVAL, "queues = %u, but the device has %u", n, has);
	if (n > FN_DPDK_QUEUES)
		return fail(o, -EINVAL, "%u queues, but at most %u are served", n, FN_DPDK_QUEUES);
	o->port->nb_rxq = (uint16_t)n;
	return 0;
}

static int setup_queues(const struct opening *o, const struct rte_eth_conf *ec)
{
	struct dpdk_port *port = o->port;
	uint16_t rxd = o->info.default_rxportconf.ring_size, txd = o->info.default_txportconf.ring_size;
	struct rte_eth_rxconf rxconf = o->info.default_rxconf;
	struct rte_eth_txconf txconf = o->info.default_txconf;
	unsigned node = (unsigned)rte_eth_dev_socket_id(port->id);
	uint32_t most;
	int rc;

	rxd = rxd ? rxd : RING_DEFAULT;
	/* a power of two, as AF_XDP wants it and others like it */
	most = rte_align32prevpow2(fn_max(o->dev.buffers / RING_SHARE / port->nb_rxq, 1u));
	rxd = (uint16_t)fn_min((uint32_t)rxd, most);
	txd = txd ? txd : RING_DEFAULT;
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(port->id, &rxd, &txd);
	rxconf.offloads = ec->rxmode.offloads;
	txconf.offloads = ec->txmode.offloads;
	for (uint16_t q = 0; !rc && q < port->nb_rxq; q++)
		rc = rte_eth_rx_queue_setup(port->id, q, rxd, node, &rxconf, port->pool);
	for (uint16_t q = 0; !rc && q < port->nb_rxq; q++)
		rc = rte_eth_tx_queue_setup(port->id, q, txd, node, &txconf);
	return rc;
}

static int configure_start(const struct opening *o, struct rte_eth_conf *ec)
{
	struct dpdk_port *port = o->port;
	int rc = rte_eth_dev_configure(port->id, port->nb_rxq, port->nb_rxq, ec);

	if (!rc)
		rc = setup_queues(o, ec);
	if (!rc)
		rc = rte_eth_dev_start(port->id);
	return rc;
}

/* How large a packet may be that the device cuts, and of how many buffers. */
static void settle_tso(struct opening *o)
{
	const struct rte_eth_desc_lim *lim = &o->info.tx_desc_lim;
	uint32_t segs = fn_min(TSO_BUFFERS, (uint32_t)(lim->nb_seg_max ? lim->nb_seg_max : UINT16_MAX));

	o->nic->tso_max = UINT16_MAX - FN_PKT_HEADROOM;		/* IPv4's length field counts the headers too */
	o->nic->tso_segs = (uint16_t)segs;
	/* net_tap holds each segment against the MTU with its Ethernet header, and would never take a full one */
	if (o->port->driver == DRIVER_TAP)
		o->nic->mtu -= RTE_ETHER_HDR_LEN;
}

static int start_device(struct opening *o)
{
	struct dpdk_port *port = o->port;
	struct rte_eth_conf ec = {
		.rxmode.offloads = rx_offloads(o),
		.txmode.offloads = tx_offloads(o),
	};
	int rc;

	if (port->driver == DRIVER_OTHER) {
		ec.rxmode.mtu = o->nic->mtu;
		ec.intr_conf.lsc = !!(*o->info.dev_flags & RTE_ETH_DEV_INTR_LSC);
		ec.intr_conf.rxq = 1;
		port->rx_intr = true;
	}
	if (use_rss(o)) {
		ec.rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
		ec.rx_adv_conf.rss_conf.rss_key = (uint8_t *)(uintptr_t)o->conf->rss_key;
		ec.rx_adv_conf.rss_conf.rss_key_len = RSS_KEY_LEN;
		ec.rx_adv_conf.rss_conf.rss_hf = RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP;
	}
	rc = enough_buffers(o);
	if (rc)
		return rc;
	rc = configure_start(o, &ec);
	if (rc && port->rx_intr) {
		/* Many devices have no receive interrupts and refuse the whole configuration. */
		ec.intr_conf.rxq = 0;
		port->rx_intr = false;
		rc = configure_start(o, &ec);
	}
	if (rc)
		return fail(o, rc, "the device cannot be started");
	o->nic->caps = caps_of(ec.txmode.offloads, ec.rxmode.offloads, use_rss(o));
	if (port->driver == DRIVER_AF_PACKET)
		o->nic->caps |= FN_NIC_RX_JOINED;
	if (o->nic->caps & FN_NIC_TX_TSO)
		settle_tso(o);
	port->tx_prepare = o->nic->caps & (FN_NIC_TX_TSO | FN_NIC_TX_TCP_CSUM | FN_NIC_TX_UDP_CSUM);
	port->tx_linear = !(o->nic->caps & FN_NIC_TX_SEGS);
	return 0;
}

/* ---- address ---- */

static int settle_mac(struct opening *o)
{
	struct dpdk_port *port = o->port;
	const uint8_t *want = o->conf->mac;
	struct rte_ether_addr dev;
	int rc = rte_eth_macaddr_get(port->id, &dev);

	if (rc)
		return fail(o, rc, "the device has no MAC address");
	memcpy(o->nic->mac, want ? want : dev.addr_bytes, 6);
	if (port->driver == DRIVER_TAP) {
		/* The driver gives the kernel's end its own address; on this wire we are the other end. */
		if (!want) {
			o->nic->mac[0] = (uint8_t)((o->nic->mac[0] | 2) & ~1);
			o->nic->mac[5] ^= 1;
		} else if (!memcmp(want, dev.addr_bytes, 6)) {
			return fail(o, -EINVAL, "mac is that of the kernel's end of the tap");
		}
	} else if (want && memcmp(want, dev.addr_bytes, 6)) {
		if (o->dev.ifname[0]) {
			port->mac_fd = dpdk_iface_admit(o->dev.ifname, want);
			rc = port->mac_fd < 0 ? port->mac_fd : 0;
		} else {
			memcpy(dev.addr_bytes, want, 6);
			rc = rte_eth_dev_default_mac_addr_set(port->id, &dev);
			if (rc)
				rc = rte_eth_promiscuous_enable(port->id);
		}
		if (rc)
			return fail(o, rc, "the device does not take another MAC address");
	}
	return 0;
}

/* ---- open ---- */

static void settle_csum(struct opening *o)
{
	struct dpdk_port *port = o->port;

	port->trust_all = o->conf->csum == FN_PORT_CSUM_TRUST;
	/* A tap has no offloads unless its reader asks for them: there the kernel finishes its work. */
	port->accept_partial = o->conf->csum == FN_PORT_CSUM_AUTO && port->driver != DRIVER_TAP && o->dev.ifname[0] &&
			       dpdk_iface_virtual(o->dev.ifname);
	/* AF_PACKET tells which ones they are */
	port->ring_sums = o->conf->csum == FN_PORT_CSUM_AUTO && port->driver == DRIVER_AF_PACKET;
	port->accept_partial = port->accept_partial && !port->ring_sums;
	port->pub.csum_trusted = port->trust_all || port->accept_partial || port->ring_sums;
}

static void settle_node(struct opening *o)
{
	int node = o->conf->numa_node >= 0 ? o->conf->numa_node : rte_eth_dev_socket_id(o->port->id);

	o->port->pub.numa_node = dpdk_numa_many() ? node : SOCKET_ID_ANY;
}

static int bring_up(struct opening *o)
{
	struct dpdk_port *port = o->port;
	int rc = probe(o);

	if (rc)
		return rc;
	settle_node(o);
	rc = settle_mtu(o);
	if (!rc)
		rc = settle_queues(o);
	if (!rc)
		rc = make_pool(o);
	if (!rc)
		rc = start_device(o);
	if (!rc)
		rc = settle_mac(o);
	if (rc)
		return rc;
	if (o->dev.ifname[0])
		port->ask_fd = dpdk_iface_socket();
	if (port->ask_fd >= 0 && !dpdk_iface_up(port->ask_fd, o->dev.ifname))
		fn_log(FN_PLUGIN_WARNING, "%s: interface %s is down", o->conf->name, o->dev.ifname);
	settle_csum(o);
	port->lcore = dpdk_eal_lcore();
	port->link = true;
	port->owner = getpid();
	return 0;
}

static void publish(struct opening *o)
{
	struct dpdk_port *port = o->port;

	if (!port->ifname[0])
		snprintf(port->ifname, sizeof(port->ifname), "%s", o->dev.ifname);
	port->pub.nic = o->nic;
	port->pub.driver = port->driver_name;
	port->pub.ifname = port->ifname;
	o->nic->priv = port;
	o->nic->up = true;
	snprintf(o->nic->name, sizeof(o->nic->name), "%s", o->conf->name);
}

static void tear_down(struct dpdk_port *port)
{
	struct rte_eth_dev_info info;

	dpdk_peek_teardown(port);
	if (port->dev_name[0] && !rte_eth_dev_info_get(port->id, &info)) {
		rte_eth_dev_stop(port->id);
		rte_eth_dev_close(port->id);
		rte_dev_remove(info.device);
	}
	rte_mempool_free(port->pool);
	if (port->mac_fd >= 0)
		close(port->mac_fd);
	if (port->ask_fd >= 0)
		close(port->ask_fd);
	rte_free(port);
}

/* Ports over an interface that the kernel serves have no interrupts: with those alone nothing waits for any. */
static void end_thread(const struct dpdk_port *port, const struct fn_port_conf *conf)
{
	static unsigned quiet;

	if (port->driver == DRIVER_AF_PACKET || port->driver == DRIVER_AF_XDP)
		quiet++;
	if (quiet == fn_max(conf->ports, 1u))
		dpdk_thread_end();
}

static int open_with(struct opening *o)
{
	static unsigned opened;
	struct dpdk_port *port;
	int rc = dpdk_devargs_parse(&o->dev, o->conf, o->err, o->errlen);

	if (rc)
		return rc;
	dpdk_fds_plug(&o->plugged, o->conf->fd_floor);
	rc = dpdk_eal_init(o->conf, &o->dev, o->err, o->errlen);
	if (rc)
		goto unplug;
	dpdk_fds_snapshot(&o->before);
	port = o->port = rte_zmalloc("fastnet port", sizeof(*port), RTE_CACHE_LINE_SIZE);
	if (!port) {
		rc = fail(o, -ENOMEM, "no memory");
		goto unplug;
	}
	port->driver = o->dev.driver;
	port->mac_fd = port->ask_fd = -1;
	if (port->driver == DRIVER_TAP)
		signals_hide(o);
	rc = bring_up(o);
	if (port->driver == DRIVER_TAP)
		signals_restore(o);
	if (rc) {
		tear_down(port);
		goto unplug;
	}
	publish(o);
	end_thread(port, o->conf);
unplug:
	dpdk_fds_unplug(&o->plugged);
	if (rc)
		return rc;
	port->nb_own_fd = dpdk_fds_collect(port->own_fd, FN_DPDK_FDS - 1, &o->before, 0);
	if (port->ask_fd >= 0)	/* of no kind that drivers open */
		port->own_fd[port->nb_own_fd++] = port->ask_fd;
	dpdk_wake_setup(port);
	o->nic->ops = dpdk_peek_setup(port, &o->dev) ? &dpdk_nic_ops : &dpdk_nic_ops_blind;
	dpdk_recover_setup(port);
	dpdk_log_kept();
	/* the others' share stays held until they are open */
	if (++opened >= o->conf->ports)
		dpdk_huge_drop();
	return 0;
}

int dpdk_port_open(const struct fn_port_conf *conf, struct fn_nic *nic, struct dpdk_port **port, char *err,
		   size_t errlen)
{
	struct opening *o = calloc(1, sizeof(*o));
	int rc;

	*port = NULL;
	if (!o) {
		snprintf(err, errlen, "out of memory");
		return -ENOMEM;
	}
	o->conf = conf;
	o->nic = nic;
	o->err = err;
	o->errlen = errlen;
	rc = open_with(o);
	if (!rc)
		*port = o->port;
	free(o);
	return rc;
}

int dpdk_port_prepare(const struct fn_port_conf *conf, char *err, size_t errlen)
{
	struct opening *o = calloc(1, sizeof(*o));
	int rc;

	if (!o)
		return -ENOMEM;
	rc = dpdk_devargs_parse(&o->dev, conf, err, errlen);
	if (!rc) {
		dpdk_fds_plug(&o->plugged, conf->fd_floor);
		rc = dpdk_eal_init(conf, &o->dev, err, errlen);
		dpdk_fds_unplug(&o->plugged);
	}
	free(o);
	return rc;
}

void dpdk_port_close(struct dpdk_port *port)
{
	if (port->owner != getpid())
		return;
	port->pub.nic->ops = NULL;
	tear_down(port);
}
