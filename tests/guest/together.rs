//! Several loaders at work in the same kernel.

use crate::support::{Actor, PidLabels, Run, Trace, assert_snapshot};

#[test]
fn two_loaders_print_every_write_twice() {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let first = Run::new("aya", "minimal").filter(writer.pid()).attach();
    let second = Run::new("libbpf", "minimal").filter(writer.pid()).attach();

    writer.write(2);
    other.write(1);
    assert_snapshot!("two-loaders", labels.normalize(&trace.read()));

    // The one that stays is not disturbed by the one that goes.
    first.detach();
    writer.write(2);
    assert_snapshot!("one-of-two-loaders", labels.normalize(&trace.read()));
    second.detach();
}
