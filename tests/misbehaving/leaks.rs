//! Tests that pass, and leak something in the kernel or make it warn. Each finds the kernel as it was before all others.
#![expect(clippy::zombie_processes, reason = "nobody is to wait for processes that leak")]

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use crate::bpf;

const TRACEFS: &str = "/sys/kernel/tracing";
const NO_DATA: Option<&str> = None;

fn set(file: &str, value: &str) {
    fs::write(format!("{TRACEFS}/{file}"), value).unwrap();
}

fn add(file: &str, line: &str) {
    let mut file = OpenOptions::new().append(true).open(format!("{TRACEFS}/{file}")).unwrap();
    file.write_all(line.as_bytes()).unwrap();
}

/// Panics if another test changed something, and the lab did not undo it or replace the machine.
fn expect_clean_kernel() {
    let read = |file: &str| fs::read_to_string(format!("{TRACEFS}/{file}")).unwrap();
    assert_eq!(read("tracing_on"), "1\n");
    assert_eq!(read("current_tracer"), "nop\n");
    assert_eq!(read("dynamic_events"), "");
    assert!(read("trace_clock").contains("[local]"));
    assert!(read("trace_options").lines().any(|option| option == "print-parent"));
    assert!(read("set_event").lines().all(|event| event == "bpf_trace:bpf_trace_printk"));
    let size = read("buffer_size_kb");
    let sizes: Vec<u32> = size.split(|c: char| !c.is_ascii_digit()).filter_map(|n| n.parse().ok()).collect();
    assert!(sizes.last().unwrap() > &1000, "{size}");
    assert_eq!(fs::read_dir(format!("{TRACEFS}/instances")).unwrap().count(), 0);
    assert_eq!(fs::read_dir("/sys/fs/bpf").unwrap().count(), 0);
    assert_eq!(fs::read_to_string("/proc/sys/kernel/tainted").unwrap(), "0\n");
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains("/tmp/") && mounts.contains(" /sys/fs/bpf "), "{mounts}");
    assert_eq!(fs::read_dir("/sys/class/net").unwrap().count(), 1);
}

/// The root of the cgroups, mounted no longer than `work` takes.
fn with_cgroup(work: impl FnOnce(&File)) {
    fs::create_dir_all("/tmp/cgroup").unwrap();
    mount(Some("none"), "/tmp/cgroup", Some("cgroup2"), MsFlags::empty(), NO_DATA).unwrap();
    let cgroup = File::open("/tmp/cgroup").unwrap();
    work(&cgroup);
    drop(cgroup);
    umount("/tmp/cgroup").unwrap();
}

#[test]
fn an_attached_program() {
    expect_clean_kernel();
    with_cgroup(|cgroup| bpf::attach(&bpf::program(), cgroup));
}

#[test]
fn a_buffer_size() {
    expect_clean_kernel();
    set("buffer_size_kb", "64");
}

#[test]
fn an_enabled_event() {
    expect_clean_kernel();
    set("events/sched/sched_switch/enable", "1");
}

#[test]
fn a_kprobe_event() {
    expect_clean_kernel();
    add("kprobe_events", "p:kprobes/hooklab_leak vfs_read\n");
    set("events/kprobes/hooklab_leak/enable", "1");
}

#[test]
fn a_mount() {
    expect_clean_kernel();
    fs::create_dir_all("/tmp/a mount").unwrap();
    mount(Some("none"), "/tmp/a mount", Some("tmpfs"), MsFlags::empty(), NO_DATA).unwrap();
}

#[test]
fn a_removed_mount() {
    expect_clean_kernel();
    umount("/sys/fs/bpf").unwrap();
}

#[test]
fn a_network_interface() {
    expect_clean_kernel();
    add_network_interface("netkit");
}

#[test]
fn a_network_namespace() {
    expect_clean_kernel();
    fs::write("/tmp/netns", "").unwrap();
    // Of this thread alone; its child is the mount.
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let source = Some("/proc/thread-self/ns/net");
    mount(source, "/tmp/netns", NO_DATA, MsFlags::MS_BIND, NO_DATA).unwrap();
}

#[test]
fn a_perf_event_of_a_dead_process() {
    expect_clean_kernel();
    let map = bpf::map(bpf::PERF_EVENT_ARRAY, bpf::PRESERVE_ELEMS);
    bpf::put(&map, &perf_event());
    bpf::pin(&map, "/sys/fs/bpf/events");
}

#[test]
fn a_pinned_link() {
    expect_clean_kernel();
    with_cgroup(|cgroup| bpf::pin(&bpf::link(&bpf::program(), cgroup), "/sys/fs/bpf/link"));
}

#[test]
fn a_pinned_map() {
    expect_clean_kernel();
    fs::create_dir("/sys/fs/bpf/directory").unwrap();
    bpf::pin(&bpf::map(bpf::ARRAY, 0), "/sys/fs/bpf/directory/map");
}

#[test]
fn a_pinned_program() {
    expect_clean_kernel();
    bpf::pin(&bpf::program(), "/sys/fs/bpf/program");
}

#[test]
fn a_process_with_a_map() {
    expect_clean_kernel();
    let map = bpf::map(bpf::ARRAY, 0);
    fcntl(&map, FcntlArg::F_SETFD(FdFlag::empty())).unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "failures::hangs"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.process_group(0).spawn().unwrap();
}

#[test]
fn a_soft_lockup() {
    expect_clean_kernel();
    fs::write("/proc/sys/kernel/watchdog_thresh", "1").unwrap();
    let payload = std::env::var("HOOKLAB_PAYLOAD").unwrap();
    let mut loader = Command::new(Path::new(&payload).join("bin/hooklab-loader"))
        .args(["run", "--loader", "libbpf", "stuck.bpf.o"])
        .current_dir(Path::new(&payload).join("objects"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut attached = String::new();
    BufReader::new(loader.stdout.take().unwrap()).read_line(&mut attached).unwrap();
    assert!(!attached.is_empty());
    // SAFETY: the call has no arguments and changes nothing.
    unsafe { libc::syscall(libc::SYS_getpgid, libc::pid_t::MAX) };
    drop(loader.stdin.take());
    assert!(loader.wait().unwrap().success());
}

#[test]
fn a_taint_flag() {
    expect_clean_kernel();
    // What user space may set: "U".
    fs::write("/proc/sys/kernel/tainted", "64").unwrap();
}

#[test]
fn a_trace_clock() {
    expect_clean_kernel();
    set("trace_clock", "global");
}

#[test]
fn a_trace_instance() {
    expect_clean_kernel();
    fs::create_dir(format!("{TRACEFS}/instances/mine")).unwrap();
}

#[test]
fn a_trace_option() {
    expect_clean_kernel();
    set("trace_options", "noprint-parent");
}

#[test]
fn a_tracer() {
    expect_clean_kernel();
    // Of all functions it would take seconds to switch on, and off.
    set("set_ftrace_filter", "vfs_read");
    set("current_tracer", "function");
}

#[test]
fn a_uprobe_event() {
    expect_clean_kernel();
    let payload = std::env::var("HOOKLAB_PAYLOAD").unwrap();
    add("uprobe_events", &format!("p:uprobes/hooklab_leak {payload}/guest:0x1000\n"));
}

#[test]
fn an_rcu_stall_that_only_a_program_speaks_of() {
    expect_clean_kernel();
    // What user space writes to the kernel's log is not the kernel's word.
    fs::write("/dev/kmsg", "<3>INFO: rcu_preempt self-detected stall on CPU").unwrap();
}

#[test]
fn nothing_with_a_child_that_is_about_to_end() {
    expect_clean_kernel();
    // Its pipe ends with this process, and with it the child: that takes a moment.
    let mut command = Command::new("/proc/self/exe");
    command.args(["--exact", "leaks::until_its_input_ends", "--ignored"]).stdin(Stdio::piped());
    command.stdout(Stdio::null()).spawn().unwrap();
}

// The child of the test above, by `--ignored`; no test of its own.
#[test]
#[ignore = "it is for another test to start"]
fn until_its_input_ends() {
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn switched_off_tracing_and_a_failure() {
    expect_clean_kernel();
    set("tracing_on", "0");
    panic!("on purpose");
}

/// A software event that counts this thread's context switches (perf_event_open(2)).
fn perf_event() -> OwnedFd {
    // `type`, `size`, `config`, of the first version of the structure, which has 64 bytes.
    let mut attributes = [0_u32; 16];
    attributes[..3].copy_from_slice(&[1, 64, 3]);
    // SAFETY: the attributes live across the call and are as large as they say.
    let number = unsafe { libc::syscall(libc::SYS_perf_event_open, attributes.as_ptr(), 0, -1, -1, 0) };
    let number = i32::try_from(nix::errno::Errno::result(number).unwrap()).unwrap();
    // SAFETY: the kernel has just made this descriptor for us, and nobody else knows of it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// Asks the kernel for a network interface of this kind (rtnetlink(7), `RTM_NEWLINK`).
fn add_network_interface(kind: &str) {
    /// An attribute: its length, its type, its value, and what fills it up to four bytes.
    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
    // `IFLA_LINKINFO` with `IFLA_INFO_KIND` in it, after an empty `struct ifinfomsg`.
    let body = [vec![0; 16], attribute(18, &attribute(1, kind.as_bytes()))].concat();
    let length = u32::try_from(body.len() + 16).unwrap();
    let flags = libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let mut message = length.to_ne_bytes().to_vec();
    message.extend(libc::RTM_NEWLINK.to_ne_bytes());
    message.extend(u16::try_from(flags).unwrap().to_ne_bytes());
    message.extend([0; 8]);
    message.extend(body);

    let netlink =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::empty(), SockProtocol::NetlinkRoute).unwrap();
    let kernel = NetlinkAddr::new(0, 0);
    sendto(netlink.as_raw_fd(), &message, &kernel, MsgFlags::empty()).unwrap();
    let mut answer = [0; 256];
    recv(netlink.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
    // `struct nlmsgerr` after the header: 0 is good.
    assert_eq!(answer[16..20], [0; 4], "{answer:?}");
}
