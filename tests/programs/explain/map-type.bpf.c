// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* map-type: a Bloom filter, since 5.16. */
#include "explain.h"

static long (*bpf_map_push_elem)(void *map, const void *value, __u64 flags) = (void *)87;

struct {
	__uint(type, 30 /* BPF_MAP_TYPE_BLOOM_FILTER */);
	__uint(max_entries, 64);
	__type(value, __u32);
} seen SEC(".maps");

SEC("tp/syscalls/sys_enter_write")
int remembers(void *ctx)
{
	__u32 one = 1;

	bpf_map_push_elem(&seen, &one, 0);
	return 0;
}
