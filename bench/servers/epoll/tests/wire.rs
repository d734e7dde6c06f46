//! What the server does on the wire.
#[path = "../../wire.rs"]
mod wire;

#[test]
fn answers_on_the_wire() {
    let server = wire::Server::start(env!("CARGO_BIN_EXE_bench-epoll"));
    wire::split_requests(&server);
    wire::half_closed(&server);
    wire::not_found(&server);
    wire::a_client_that_reads_late(&server);
    wire::churn(&server);
}
