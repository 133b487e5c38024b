//! The program whose filter the compiler folded away.

use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::every_loader;
use crate::support::{Actor, Cast, Run, Trace, assert_transcript};

#[apply(every_loader)]
fn runs_without_a_filter(#[case] loader: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let cast = Cast::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, "minimal-folded").attach();

    writer.write(3);
    other.write(2);

    assert_transcript!("nothing-set", cast.transcript(&trace.read()));
    attached.detach();
}

#[apply(every_loader)]
fn is_refused_with_a_filter(#[case] loader: &str) {
    let refusal = Run::new(loader, "minimal-folded").filter(1).refusal();
    assert_transcript!("folded-global", refusal);
}
