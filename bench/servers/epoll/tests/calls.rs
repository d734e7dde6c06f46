//! What a request costs in system calls where the server sleeps between requests.
#[path = "../../calls.rs"]
mod calls;

/// One `epoll_wait`, one `recv`, one `send`.
#[test]
fn no_call_is_superfluous_where_the_server_sleeps() {
    calls::at_most(3.05, env!("CARGO_BIN_EXE_bench-epoll"));
}
