//! The server side of SMTP, as far as clients need it to deliver a mail. Published servers bring TLS, queues and
//! delivery; this needs a hundred lines.

use std::io;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// Bytes of a line, at most. RFC 5321, 4.5.3.1.4 requires less.
const MAX_LINE_LEN: u64 = 8192;
const MAX_MESSAGE_LEN: usize = 5 << 20;

/// Serves one client. `store` receives recipients and message of every mail.
pub(crate) async fn session(stream: TcpStream, mut store: impl FnMut(&[String], &[u8])) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    stream.write_all(b"220 baton dev mailbox\r\n").await?;
    let mut recipients: Vec<String> = Vec::new();
    while let Some(line) = read_line(&mut stream).await? {
        let line = String::from_utf8_lossy(&line);
        let verb = line.trim_end().split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let response: &[u8] = match verb.as_str() {
            "EHLO" => b"250-baton\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 PIPELINING\r\n",
            "HELO" | "NOOP" | "VRFY" => b"250 ok\r\n",
            "MAIL" | "RSET" => {
                recipients.clear();
                b"250 ok\r\n"
            }
            "RCPT" => match address(&line) {
                // No such domain exists (RFC 6761). This simulates mails that no server accepts.
                Some(address) if address.ends_with(".invalid") => b"550 5.1.2 no such domain\r\n",
                Some(address) => {
                    recipients.push(address.to_owned());
                    b"250 ok\r\n"
                }
                None => b"501 RCPT TO:<address>\r\n",
            },
            "DATA" if recipients.is_empty() => b"503 RCPT first\r\n",
            "DATA" => {
                stream.write_all(b"354 end with a dot\r\n").await?;
                match read_message(&mut stream).await? {
                    Some(message) => {
                        store(&recipients, &message);
                        recipients.clear();
                        b"250 kept\r\n"
                    }
                    None => b"552 too large\r\n",
                }
            }
            "QUIT" => {
                stream.write_all(b"221 bye\r\n").await?;
                return Ok(());
            }
            _ => b"502 not implemented\r\n",
        };
        stream.write_all(response).await?;
    }
    Ok(())
}

/// Reads a line with its line break; `None` at the end of the stream.
async fn read_line(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    stream.take(MAX_LINE_LEN).read_until(b'\n', &mut line).await?;
    Ok((!line.is_empty()).then_some(line))
}

/// Reads the message up to the final dot, and undoes dot-stuffing; `None` if it is too large.
async fn read_message(stream: &mut BufReader<TcpStream>) -> io::Result<Option<Vec<u8>>> {
    let mut message = Vec::new();
    let mut too_large = false;
    loop {
        let line = read_line(stream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        if line == b".\r\n" || line == b".\n" {
            return Ok((!too_large).then_some(message));
        }
        too_large |= message.len() + line.len() > MAX_MESSAGE_LEN;
        if !too_large {
            message.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }
}

fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once('<')?;
    let (address, _) = rest.split_once('>')?;
    (!address.is_empty()).then_some(address)
}
