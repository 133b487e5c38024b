//! Programs of other shapes than the minimal one: several in an object, maps, CO-RE.

use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::{every_loader, every_loader_of_data};
use crate::support::{Actor, KernelObjects, PidLabels, Run, Trace, assert_snapshot};

#[apply(every_loader)]
fn all_programs_of_an_object_are_attached(#[case] loader: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, "pair").filter(writer.pid()).attach();

    writer.write(2);

    let places: Vec<_> =
        attached.programs().iter().map(|program| (&*program.name, &*program.attach)).collect();
    assert_eq!(
        places,
        [("on_enter", "tp/syscalls/sys_enter_write"), ("on_exit", "tp/syscalls/sys_exit_write")]
    );
    assert_snapshot!("pair", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_loader_of_data)]
fn maps_work_and_go(#[case] loader: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let before = KernelObjects::now();
    let attached = Run::new(loader, "counter").filter(writer.pid()).attach();

    writer.write(3);

    assert_snapshot!("counter", labels.normalize(&trace.read()));
    attached.detach();
    KernelObjects::wait_for_none_since(&before);
}

#[apply(every_loader)]
fn offsets_are_looked_up_in_the_kernel(#[case] loader: &str) {
    let mut writer = Actor::start();
    let labels = PidLabels::new([(writer.pid(), "writer")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, "core").filter(writer.pid()).attach();

    writer.write(2);

    assert_snapshot!("core", labels.normalize(&trace.read()));
    attached.detach();
}
