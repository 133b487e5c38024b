// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A program for each cause that stands in the way of one program alone: some load nowhere, some not on old kernels. */
#include "explain.h"

/* No instruction reads it: setting it would have no effect. */
const volatile int unread = 0;

static void *(*bpf_get_current_task)(void) = (void *)35;
static long (*bpf_xdp_adjust_head)(void *ctx, int delta) = (void *)44;
/* Since 5.5. */
static long (*bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
/* Since 6.1. */
static __u64 (*bpf_ktime_get_tai_ns)(void) = (void *)208;

struct task_struct {
	int tgid;
	int hooklab_has_no_such_field;
} __attribute__((preserve_access_index));

SEC("tp/syscalls/sys_enter_write")
int loads(void *ctx)
{
	return 0;
}

/* A loader leaves it out if nobody asks for it. */
SEC("?tp/syscalls/sys_enter_write")
int optional(void *ctx)
{
	return 0;
}

/* verifier: reads past the end of the tracepoint's record. */
SEC("tp/syscalls/sys_enter_write")
int reads_too_far(__u64 *ctx)
{
	return ctx[2000];
}

/* helper: one that programs of this type may not call. */
SEC("tp/syscalls/sys_enter_write")
int calls_helper_of_xdp(void *ctx)
{
	return bpf_xdp_adjust_head(ctx, 0);
}

/* helper: one that old kernels do not have. */
SEC("tp/syscalls/sys_enter_write")
int calls_new_helper(void *ctx)
{
	return bpf_ktime_get_tai_ns() == 0;
}

/* core-relocation */
SEC("tp/syscalls/sys_enter_write")
int reads_missing_field(void *ctx)
{
	struct task_struct *task = bpf_get_current_task();
	int value = 0;

	bpf_probe_read_kernel(&value, sizeof(value), &task->hooklab_has_no_such_field);
	return value;
}

/* attach-target, as soon as it is loaded. */
SEC("fentry/hooklab_has_no_such_function")
int enters_missing_function(void *ctx)
{
	return 0;
}

/* attach-target, when it is attached. */
SEC("tp/syscalls/sys_enter_hooklab")
int hooks_missing_tracepoint(void *ctx)
{
	return 0;
}

/* attach-target, when it is attached. */
SEC("kprobe/hooklab_has_no_such_function")
int probes_missing_function(void *ctx)
{
	return 0;
}

/* program-type: since 6.4. */
SEC("netfilter")
int filters_packets(void *ctx)
{
	return 1;
}

/* program-type: a section that libbpf makes nothing of. */
SEC("hooklab/nothing")
int lies_in_unknown_section(void *ctx)
{
	return 0;
}

/* lsm-inactive, where a kernel's CONFIG_LSM leaves bpf out. */
SEC("lsm/file_open")
int watches_files(void *ctx)
{
	return 0;
}

/* program-type, when it is attached: since 5.18, and only where there are fprobes. */
SEC("kprobe.multi/ksys_write")
int probes_many(void *ctx)
{
	return 0;
}
