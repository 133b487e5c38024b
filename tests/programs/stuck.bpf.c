// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Keeps the processor to itself, in the kernel, for four seconds: what the kernel's watchdog is for.
 * From 7.0 or so on the kernel may preempt such a program all the same. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Copied in one piece, so that few rounds of a loop, which the verifier follows one by one, take seconds. */
#define PIECE (4 << 20)
#define ROUNDS 7000
#define LONG_ENOUGH 4000000000ULL

char LICENSE[] SEC("license") = "Dual BSD/GPL";

struct pieces {
	char to[PIECE];
	char from[PIECE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pieces);
} pieces_map SEC(".maps");

SEC("tp/syscalls/sys_enter_getpgid")
int keep_busy(void *ctx)
{
	__u32 key = 0;
	struct pieces *pieces = bpf_map_lookup_elem(&pieces_map, &key);
	__u64 begin = bpf_ktime_get_ns();

	if (!pieces)
		return 0;
	for (int round = 0; round < ROUNDS; round++) {
		bpf_probe_read_kernel(pieces->to, PIECE, pieces->from);
		if (bpf_ktime_get_ns() - begin > LONG_ENOUGH)
			break;
	}
	return 0;
}
