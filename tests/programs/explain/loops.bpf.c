// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* too-large: the verifier would have to follow more instructions than it does, and its log is longer than is kept. */
#include "explain.h"

SEC("tp/syscalls/sys_enter_write")
int loops_too_long(__u64 *ctx)
{
	__u64 sum = ctx[2];

	for (int round = 0; round < 1000000; round++)
		sum = sum * 3 + (sum >> 7);
	return sum & 1;
}
