//! What a request costs in system calls where the server sleeps between requests.
#[path = "../../calls.rs"]
mod calls;

/// One `io_uring_enter` that sends an answer and waits for the next request.
#[test]
fn no_call_is_superfluous_where_the_server_sleeps() {
    calls::at_most(1.05, env!("CARGO_BIN_EXE_bench-floor"));
}
