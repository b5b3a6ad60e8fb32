/* SPDX-License-Identifier: BSD-3-Clause */
/* What the kernel says about the network interface behind a port. Changes nothing but the filter that its caller closes. */
#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_packet.h>
#include <linux/sockios.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "plugin/dpdk.h"

int dpdk_iface_socket(void)
{
	return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

static int iface_ioctl(int fd, const char *ifname, unsigned long request, struct ifreq *ifr)
{
	snprintf(ifr->ifr_name, sizeof(ifr->ifr_name), "%s", ifname);
	return ioctl(fd, request, ifr);
}

static int iface_ask(const char *ifname, unsigned long request, struct ifreq *ifr)
{
	int fd = dpdk_iface_socket();
	int rc;

	if (fd < 0)
		return -1;
	rc = iface_ioctl(fd, ifname, request, ifr);
	close(fd);
	return rc;
}

uint32_t dpdk_iface_mtu(const char *ifname)
{
	struct ifreq ifr = { 0 };

	return iface_ask(ifname, SIOCGIFMTU, &ifr) ? 0 : (uint32_t)ifr.ifr_mtu;
}

bool dpdk_iface_up(int fd, const char *ifname)
{
	struct ethtool_value carrier = { .cmd = ETHTOOL_GLINK };
	struct ifreq ifr = { 0 };

	if (iface_ioctl(fd, ifname, SIOCGIFFLAGS, &ifr) || !(ifr.ifr_flags & IFF_UP))
		return false;
	/* The carrier itself: IFF_RUNNING may follow it a second later. */
	ifr.ifr_data = (char *)&carrier;
	return iface_ioctl(fd, ifname, SIOCETHTOOL, &ifr) || carrier.data;
}

bool dpdk_iface_virtual(const char *ifname)
{
	/* Kernel drivers that hand a sender's skb, or its unfinished checksum, to the other side as it is. */
	static const char *const drivers[] = {
		"veth", "bridge", "tun", "virtio_net", "xen_netfront", "vif", "hv_netvsc", "macvlan", "ipvlan", "dummy",
		"bonding", "team", "openvswitch", "netkit", "802.1Q VLAN Support",
	};
	struct ethtool_drvinfo info = { .cmd = ETHTOOL_GDRVINFO };
	struct ifreq ifr = { .ifr_data = (char *)&info };

	if (iface_ask(ifname, SIOCETHTOOL, &ifr))
		return false;
	for (size_t i = 0; i < fn_array_size(drivers); i++)
		if (!strncmp(info.driver, drivers[i], sizeof(info.driver)))
			return true;
	return false;
}

int dpdk_iface_admit(const char *ifname, const uint8_t mac[6])
{
	struct packet_mreq mreq = {
		.mr_ifindex = (int)if_nametoindex(ifname),
		.mr_type = PACKET_MR_UNICAST,
		.mr_alen = 6,
	};
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	memcpy(mreq.mr_address, mac, 6);
	if (!setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)))
		return fd;
	mreq.mr_type = PACKET_MR_PROMISC;
	if (!setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &mreq, sizeof(mreq)))
		return fd;
	close(fd);
	return -errno;
}
