//! The example is a program that others copy: it compiles, runs, and stays short.

#[path = "../../../examples/embed.rs"]
mod embed;

#[test]
fn the_embedded_service_runs() {
    embed::main().unwrap();
}

#[test]
fn it_is_under_sixty_lines() {
    assert!(include_str!("../../../examples/embed.rs").lines().count() < 60);
}
