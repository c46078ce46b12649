//! One GET over HTTP/1, for the inner listener of a gateway, which speaks nothing else.

use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The longest answer taken; the metrics of 64 replicas are a tenth of it.
const BYTES_MAX: u64 = 1 << 20;
/// How long all of it may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The body at a path, whatever the status; or what went wrong.
pub async fn get(address: &str, path: &str) -> Result<String, String> {
    match tokio::time::timeout(PATIENCE, ask(address, path)).await {
        Ok(answer) => answer.map_err(|error| error.to_string())?,
        Err(_) => Err(format!("no answer within {PATIENCE:?}")),
    }
}

async fn ask(address: &str, path: &str) -> std::io::Result<Result<String, String>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(body(&String::from_utf8_lossy(&answer)))
}

fn body(answer: &str) -> Result<String, String> {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return Err("what answers there does not speak HTTP/1".into());
    };
    if !head.starts_with("HTTP/1.") {
        return Err("what answers there does not speak HTTP/1".into());
    }
    let chunked = head
        .lines()
        .any(|line| line.to_ascii_lowercase().replace(' ', "") == "transfer-encoding:chunked");
    // Ours say how long they are; somebody else's need not be understood.
    if chunked { Err("the answer is in chunks".into()) } else { Ok(body.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_what_is_none() {
        assert_eq!(body("HTTP/1.1 200 OK\r\na: b\r\n\r\nready\n").as_deref(), Ok("ready\n"));
        for bad in ["", "\0\0\x12\x04", "SSH-2.0\r\n\r\nx"] {
            assert!(body(bad).unwrap_err().contains("HTTP/1"));
        }
        assert!(body("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n").is_err());
    }
}
