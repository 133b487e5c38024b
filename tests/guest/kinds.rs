//! Programs that are no tracepoints, and what programs send.

use hooklab_types::loader::{Line, MapContents, Record};
use rstest::rstest;

use crate::support::{Actor, KernelObjects, PidLabels, Run, Trace};

/// A record of `ring-buffer.bpf.c` or `perf-buffer.bpf.c` as text.
fn call(pid: u32, number: u32, bytes: u32) -> String {
    format!(
        "{{.pid = (int){pid},.number = (unsigned int){number},.bytes = (unsigned long long){bytes},\
         .name = (char[8])\"write\",}}"
    )
}

#[rstest]
#[case::aya_on_ring_buffer("aya", "ring-buffer")]
#[case::libbpf_on_ring_buffer("libbpf", "ring-buffer")]
#[case::aya_on_perf_buffer("aya", "perf-buffer")]
#[case::libbpf_on_perf_buffer("libbpf", "perf-buffer")]
fn records_are_decoded(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let before = KernelObjects::now();
    let run = Run::new(loader, object).filter(writer.pid()).arguments(&["--format", "json", "--maps"]);
    let attached = run.attach();

    writer.write(2);

    let mut records = Vec::new();
    let mut contents = Vec::new();
    for line in attached.detach_and_read_events() {
        match line {
            Line::Record(record) => records.push(record),
            Line::Map(map) => contents.push(map),
            line => panic!("neither a record nor a map: {line:?}"),
        }
    }
    let values: Vec<_> = records.iter().map(|record| record.value.as_str()).collect();
    assert_eq!(values, [call(writer.pid(), 70, 1), call(writer.pid(), 71, 1)]);
    let is_call = |record: &Record| record.map == "calls" && record.type_name.as_deref() == Some("call");
    assert!(records.iter().all(is_call), "{records:?}");
    let [MapContents { map, entries, truncated: false }] = &contents[..] else { panic!("{contents:?}") };
    assert_eq!((map.as_str(), entries[0].value.as_str()), ("numbers", "(unsigned int)2"));
    KernelObjects::wait_for_none_since(&before);
}

#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
fn the_others_go_where_one_cannot(#[case] loader: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, "kprobe").filter(writer.pid()).attach();

    writer.write(2);

    let trace = labels.normalize(&trace.read());
    assert_eq!(trace, "<writer> bpf_trace_printk: Function entered by PID <writer>.\n".repeat(2));
    let programs: Vec<_> =
        attached.programs().iter().map(|program| (&*program.name, &*program.attach)).collect();
    assert_eq!(programs, [("on_kprobe", "kprobe/ksys_write")]);
    let [("on_nothing", reason)] = attached.not_attached()[..] else {
        panic!("{:?}", attached.not_attached())
    };
    assert!(reason.starts_with("failed to attach `on_nothing`"), "{reason}");
    attached.detach();
}

#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
fn strictly_none_goes_where_one_cannot(#[case] loader: &str) {
    let before = KernelObjects::now();
    let refusal = Run::new(loader, "kprobe").arguments(&["--strict"]).refusal();
    assert!(refusal.starts_with("exit code 13\nerror: failed to attach `on_nothing`"), "{refusal}");
    KernelObjects::wait_for_none_since(&before);
}

#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
fn places_have_defaults(#[case] loader: &str) {
    let before = KernelObjects::now();
    let attached = Run::new(loader, "network").attach();
    let programs: Vec<_> = attached.programs().iter().map(|program| &*program.attach).collect();
    let not_attached = attached.not_attached();
    // Before 6.6 filters of traffic need modules that these kernels do not have.
    let (expected, missing): (&[_], &[_]) = match not_attached.len() {
        1 => (&["xdp", "tc", "cgroup_skb/egress", "perf_event"], &["on_replaced"]),
        _ => (&["xdp", "cgroup_skb/egress", "perf_event"], &["on_traffic", "on_replaced"]),
    };
    assert_eq!(programs, expected, "{not_attached:?}");
    assert!(not_attached.iter().map(|(name, _)| name).eq(missing), "{not_attached:?}");
    assert!(not_attached.len() == 1 || !has_traffic_links(), "{not_attached:?}");
    attached.detach();
    KernelObjects::wait_for_none_since(&before);
}

/// Whether the running kernel is 6.6 or newer.
fn has_traffic_links() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs is mounted");
    let mut numbers = release.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(6), Some(6))
}

#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
fn iterators_are_read(#[case] loader: &str) {
    let writer = Actor::start();
    let attached =
        Run::new(loader, "iterator").filter(writer.pid()).arguments(&["--format", "json"]).attach();
    let expected = format!("task {}", writer.pid());
    let lines = attached.detach_and_read_events();
    let [Line::Iterator(line)] = &lines[..] else { panic!("not one line of an iterator: {lines:?}") };
    assert_eq!((line.program.as_str(), line.line.as_str()), ("on_task", expected.as_str()));
}

#[rstest]
#[case::aya("aya")]
#[case::libbpf("libbpf")]
fn a_global_is_set_by_its_name(#[case] loader: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let assignment = format!("pid_filter={:#x}", writer.pid());
    let attached = Run::new(loader, "minimal").arguments(&["--set", &assignment]).attach();

    writer.write(1);
    other.write(1);

    let trace = labels.normalize(&trace.read());
    assert!(trace.contains("<writer>") && !trace.contains("<other>"), "{trace}");
    attached.detach();
}
