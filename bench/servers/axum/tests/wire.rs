//! What the server does on the wire.
#[path = "../../wire.rs"]
mod wire;

#[test]
fn answers_on_the_wire() {
    wire::answers_on_the_wire(env!("CARGO_BIN_EXE_bench-axum"), false);
}
