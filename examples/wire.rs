//! A service that talks to Pannier over the network: a gateway, or one replica.
//!
//! `cargo run -p pannier-client --example wire -- 127.0.0.1:7400` serves two requests of one user
//! as a web handler would, while another part of the shop watches her cart.

use pannier_client::{Client, ClientSettings, Error, Mode, Shown};

/// What a page sends back: who she is, and what she has seen.
struct Cookie(Vec<u8>);

async fn press_add(client: &Client, cookie: Cookie, product: &str) -> Result<Cookie, Error> {
    let session = client.resume(&cookie.0)?;
    session.cart("shop", "ada")?.add(product, 1).await?; // answered: it is on disk
    Ok(Cookie(session.token().to_vec()))
}

async fn press_minus(client: &Client, cookie: Cookie, product: &str) -> Result<Cookie, Error> {
    // She would rather see an older cart than none when the region that she used is gone.
    let session = client.resume_in(&cookie.0, Mode::OwnWrites)?;
    let cart = session.cart("shop", "ada")?;
    let view = cart.read().await?; // never less than she has seen, wherever it is read
    println!("she sees {} {product}", view.quantity(product));
    let taken = cart.seen(&view.seen).decrement(product, 1).await?.taken;
    println!("took off {taken}");
    Ok(Cookie(session.token().to_vec()))
}

/// Two requests and a watch.
pub async fn shop(address: String) -> Result<[u64; 2], Error> {
    let client = Client::connect(ClientSettings::new([address])).await?;
    let cookie = press_add(&client, Cookie(Vec::new()), "lamp").await?;
    let session = client.resume(&cookie.0)?;
    let mut watch = session.cart("shop", "ada")?.watch()?;
    let mut shown = [0; 2];
    if let Shown::Cart(view) = watch.next().await? {
        shown[0] = view.quantity("lamp");
    }
    press_minus(&client, cookie, "lamp").await?;
    if let Shown::Cart(view) = watch.next().await? {
        shown[1] = view.quantity("lamp");
    }
    println!("the watch showed {} lamp, then {}", shown[0], shown[1]);
    client.close().await; // answers what is under way
    Ok(shown)
}

/// Takes an address.
#[tokio::main]
pub async fn main() -> Result<(), Error> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:7400".into());
    shop(address).await.map(|_| ())
}
