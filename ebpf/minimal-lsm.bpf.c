// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * minimal.bpf.c by an LSM hook: the kernel asks its security modules before every access to an open file. So it is hit by
 * whatever writes to a file, such as writev(2), and not by write(2) alone. It needs `bpf` among the active modules.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef int pid_t;

/* What the access is for, from the kernel's include/linux/fs.h. */
#define MAY_WRITE 2

/* The PID to print, as the initial PID namespace counts it; 0 means every process. */
const volatile pid_t pid_filter = 0;

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* LSM_HOOK(int, 0, file_permission, struct file *file, int mask), in the kernel's include/linux/lsm_hook_defs.h. */
SEC("lsm/file_permission")
int handle_lsm(unsigned long long *ctx)
{
	pid_t pid = bpf_get_current_pid_tgid() >> 32;

	/* Whatever it returns but 0 would deny the access. */
	if (!((int)ctx[1] & MAY_WRITE))
		return 0;
	if (pid_filter && pid != pid_filter)
		return 0;

	bpf_printk("BPF triggered sys_enter_write from PID %d.\n", pid);
	return 0;
}
