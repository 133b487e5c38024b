//! A loader leaves nothing in the kernel, however it ends.

use nix::sys::signal::Signal;
use nix::unistd::gettid;
use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::every_pair;
use crate::support::{Actor, Attached, KernelObjects, PidLabels, Run, Trace, assert_snapshot};

/// Attaches, ends the loader as `end` says, and expects the kernel to be as before.
fn leaves_nothing(run: &Run<'_>, end: impl FnOnce(Attached)) {
    let mut writer = Actor::start();
    let before = KernelObjects::now();
    let attached = run.attach();
    let added = KernelObjects::now().since(&before);
    assert!(added.has_attached_program(), "while attached the kernel had only {added:?} more");
    let mut trace = Trace::start();

    end(attached);
    KernelObjects::wait_for_none_since(&before);
    let mut printed = trace.read();
    if run.hook().sees_writev() {
        // This process marks the trace by writev().
        printed.retain(|line| line.tid != gettid().as_raw().unsigned_abs());
    }
    assert!(printed.is_empty() || !run.is_silent(), "until the end the program printed {printed:#?}");
    writer.write(3);

    let printed = trace.read();
    assert!(printed.is_empty(), "after the end the program printed {printed:#?}");
}

#[apply(every_pair)]
fn is_attached_where_its_section_says(#[case] loader: &str, #[case] object: &str) {
    let run = Run::new(loader, object);
    let attached = run.attach();
    let places: Vec<_> = attached.programs().iter().map(|program| &*program.attach).collect();
    assert_eq!(places, [run.hook().section]);
    attached.detach();
}

#[apply(every_pair)]
fn end_of_input(#[case] loader: &str, #[case] object: &str) {
    leaves_nothing(&Run::new(loader, object), Attached::detach);
}

#[apply(every_pair)]
fn sigterm(#[case] loader: &str, #[case] object: &str) {
    leaves_nothing(&Run::new(loader, object), |attached| attached.stop_with(Signal::SIGTERM));
}

#[apply(every_pair)]
fn sigint(#[case] loader: &str, #[case] object: &str) {
    leaves_nothing(&Run::new(loader, object), |attached| attached.stop_with(Signal::SIGINT));
}

#[apply(every_pair)]
fn sigkill(#[case] loader: &str, #[case] object: &str) {
    leaves_nothing(&Run::new(loader, object), Attached::kill);
}

#[apply(every_pair)]
fn prints_the_trace_if_told_to(#[case] loader: &str, #[case] object: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let attached = Run::new(loader, object).filter(writer.pid()).trace().attach();

    other.write(2);
    writer.write(3);

    assert_snapshot!("one-pid", labels.normalize(&attached.detach_and_read()));
}
