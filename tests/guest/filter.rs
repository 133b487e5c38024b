//! What is printed, for whom: everybody, one process, or nobody.

use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::every_pair;
use crate::support::{Actor, PidLabels, Run, Trace, assert_snapshot};

#[apply(every_pair)]
fn nothing_set(#[case] loader: &str, #[case] object: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).attach();

    writer.write(3);
    other.write(2);

    assert_snapshot!("nothing-set", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_pair)]
fn one_pid(#[case] loader: &str, #[case] object: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).filter(writer.pid()).attach();

    other.write(2);
    writer.write(3);
    other.write(2);

    assert_snapshot!("one-pid", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_pair)]
fn a_pid_that_nobody_has(#[case] loader: &str, #[case] object: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).filter(unused_pid()).attach();

    writer.write(3);
    other.write(2);

    // Not even from processes that are no actors.
    let printed = trace.read();
    assert!(printed.is_empty(), "the program printed {printed:#?}");
    attached.detach();
}

#[apply(every_pair)]
fn threads_pass_the_filter_and_children_do_not(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let mut labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).filter(writer.pid()).attach();

    labels.add(writer.write_from_a_child(2).tid, "writer's child");
    labels.add(writer.write_from_a_thread(2).tid, "writer's thread");
    writer.write(1);

    assert_snapshot!("threads-not-children", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_pair)]
fn a_thread_has_the_pid_of_its_process(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let mut labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).attach();

    let thread = writer.write_from_a_thread(2);
    labels.add(thread.tid, "writer's thread");

    assert_eq!(thread.pid, writer.pid());
    assert_ne!(thread.tid, writer.pid());
    assert_snapshot!("thread", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_pair)]
fn a_forked_child_has_a_pid_of_its_own(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let mut labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).attach();

    let child = writer.write_from_a_child(2);
    writer.write(1);
    labels.add(child.pid, "writer's child");

    assert_ne!(child.pid, writer.pid());
    assert_snapshot!("child", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_pair)]
fn a_write_that_blocks_is_printed_before_it_returns(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).filter(writer.pid()).attach();

    writer.block_in_write();
    assert_snapshot!("blocked", labels.normalize(&trace.read()));

    writer.release();
    let printed = labels.normalize(&trace.read());
    assert!(printed.is_empty(), "when the call returned the program printed {printed}");
    attached.detach();
}

#[apply(every_pair)]
fn another_way_to_write(#[case] loader: &str, #[case] object: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let run = Run::new(loader, object).filter(writer.pid());
    let attached = run.attach();

    writer.write(1);
    writer.writev(2);

    let printed = labels.normalize(&trace.read());
    match run.hook().sees_writev() {
        true => assert_snapshot!("writev-seen", printed),
        false => assert_snapshot!("writev-not-seen", printed),
    }
    attached.detach();
}

/// PIDs end just below this limit, so no process ever has it.
fn unused_pid() -> u32 {
    let limit = std::fs::read_to_string("/proc/sys/kernel/pid_max").expect("procfs is mounted");
    limit.trim().parse().expect("pid_max is a number")
}
