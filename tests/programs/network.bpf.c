// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Programs whose sections do not say where they go: at an interface, to a cgroup, to a clock, and nowhere. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int on_packet(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("tc")
int on_traffic(struct __sk_buff *skb)
{
	return 0;
}

SEC("cgroup_skb/egress")
int on_outgoing(struct __sk_buff *skb)
{
	return 1;
}

SEC("perf_event")
int on_clock(void *ctx)
{
	return 0;
}

SEC("freplace/nothing")
int on_replaced(void *ctx)
{
	return 0;
}
