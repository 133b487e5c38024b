// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Is of a kind that the loaders do not attach: no tracepoint, but a kprobe. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("kprobe/ksys_write")
int on_kprobe(void *ctx)
{
	return 0;
}
