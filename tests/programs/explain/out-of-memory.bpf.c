// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* out-of-memory: an array that no guest has the memory for. */
#include "explain.h"

struct {
	__uint(type, 2 /* BPF_MAP_TYPE_ARRAY */);
	__uint(max_entries, 1 << 19);
	__uint(key_size, 4);
	__uint(value_size, 4096);
} vast SEC(".maps");

SEC("tp/syscalls/sys_enter_write")
int has_vast_map(void *ctx)
{
	return 0;
}
