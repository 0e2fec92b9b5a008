//! What `make install` puts on a machine: its scripts and its unit, each tested by a shell script.

use std::process::Command;

#[test]
fn the_init_script_answers_every_action_with_the_exit_code_of_the_lsb() {
    run("init.sh");
}

#[test]
fn make_install_and_uninstall_keep_what_the_administrator_changed() {
    run("install.sh");
}

#[expect(clippy::disallowed_methods, reason = "the program under test is a shell script")]
fn run(script: &str) {
    let output = Command::new(format!("{}/tests/{script}", env!("CARGO_MANIFEST_DIR")))
        .arg(env!("CARGO_BIN_EXE_sipban"))
        .output()
        .unwrap_or_else(|e| panic!("tests/{script}: {e}"));
    let text = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    assert!(output.status.success(), "tests/{script}: {}\n{text}", output.status);
}
