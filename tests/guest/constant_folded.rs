//! The program whose filter the compiler constant-folded.

use rstest::rstest;
use rstest_reuse::apply;

use crate::pairs::every_folded_pair;
use crate::support::{Actor, PidLabels, Run, Trace, assert_snapshot};

#[apply(every_folded_pair)]
fn runs_without_a_filter(#[case] loader: &str, #[case] object: &str) {
    let (mut writer, mut other) = (Actor::start(), Actor::start());
    let labels = PidLabels::new([(writer.pid(), "writer"), (other.pid(), "other")]);
    let mut trace = Trace::start();
    let attached = Run::new(loader, object).attach();

    writer.write(3);
    other.write(2);

    assert_snapshot!("nothing-set", labels.normalize(&trace.read()));
    attached.detach();
}

#[apply(every_folded_pair)]
fn is_refused_with_a_filter(#[case] loader: &str, #[case] object: &str) {
    let run = Run::new(loader, object).filter(1);
    // Each names its own file, and the flag as it is spelled for it.
    let refusal = run.refusal().replace(&run.file(), "minimal-folded.bpf.o");
    assert_snapshot!("constant-folded-global", refusal.replace("--pid_filter", "--pid-filter"));
}
