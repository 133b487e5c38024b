// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* too-large: a hash whose values are larger than the kernel takes. */
#include "explain.h"

struct {
	__uint(type, 1 /* BPF_MAP_TYPE_HASH */);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 1 << 30);
} huge SEC(".maps");

SEC("tp/syscalls/sys_enter_write")
int has_huge_map(void *ctx)
{
	return 0;
}
