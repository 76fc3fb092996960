//! The feed's WebSocket, set up as it is for viewers, with a route that sends back what it hears: what Autobahn's
//! cases are run against. Prints its address and serves until it is killed.
#![allow(clippy::print_stdout)]

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    println!("ws://{}", listener.local_addr()?);
    axum::serve(listener, nowcast_feed::echo_router()).await
}
