// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Reads past the end of the tracepoint's record, which the verifier of every kernel rejects. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tp/syscalls/sys_enter_write")
int read_far(__u64 *ctx)
{
	/* The verifier allows PERF_MAX_TRACE_SIZE bytes: 2048, and 8192 from Linux 5.18 on. */
	return ctx[2000];
}
