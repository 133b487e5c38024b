//! Several loaders at work in the same kernel.

use crate::support::{Actor, Cast, Run, Trace, assert_transcript};

#[test]
fn two_loaders_print_every_write_twice() {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let cast = Cast::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let first = Run::new("aya", "minimal").filter(writer.pid()).attach();
    let second = Run::new("libbpf", "minimal").filter(writer.pid()).attach();

    writer.write(2);
    other.write(1);
    assert_transcript!("two-loaders", cast.transcript(&trace.read()));

    // The one that stays is not disturbed by the one that goes.
    first.detach();
    writer.write(2);
    assert_transcript!("one-of-two-loaders", cast.transcript(&trace.read()));
    second.detach();
}
