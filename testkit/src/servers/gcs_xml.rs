//! Speaks the XML interface of Google Cloud Storage in front of a server that knows the JSON one whole and
//! the XML one in part.
//!
//! | request | becomes |
//! |---|---|
//! | `PUT /bucket/object` | `POST /upload/storage/v1/b/bucket/o?uploadType=multipart`, the condition with it |
//! | `POST ?uploads`, `PUT ?partNumber=…`, `POST ?uploadId=…`, `DELETE ?uploadId=…` | parts held here, then one such upload |
//! | all others | themselves |
//!
//! Whether an object is there already is so decided by the server alone, in one step. A request without the
//! token is answered with 401: the server behind asks nobody who they are.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Between the parts of an upload.
const BOUNDARY: &str = "icecore-test-boundary";

/// The most bytes of a request's body.
const MAX_BODY: usize = 256 << 20;

/// A listener on loopback; it ends with the value.
#[derive(Debug)]
pub(super) struct Xml {
    port: u16,
    ended: Arc<AtomicBool>,
}

#[derive(Debug)]
struct Front {
    behind: u16,
    authorization: String,
    uploads: Mutex<HashMap<String, Parts>>,
    next: AtomicU64,
}

type Parts = BTreeMap<u32, Vec<u8>>;

struct Request {
    method: String,
    path: String,
    query: HashMap<String, String>,
    /// The query as it came.
    target: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Xml {
    /// Listens, with the server at that port behind.
    pub(super) fn start(behind: u16, token: String) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let port = listener.local_addr()?.port();
        let ended = Arc::new(AtomicBool::new(false));
        let front = Arc::new(Front {
            behind,
            authorization: format!("Bearer {token}"),
            uploads: Mutex::default(),
            next: AtomicU64::new(1),
        });
        let end = ended.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Acquire) {
                    return;
                }
                let front = front.clone();
                std::thread::spawn(move || {
                    // The client tells of a connection that breaks.
                    let _ = front.serve(&stream);
                });
            }
        });
        Ok(Self { port, ended })
    }

    pub(super) const fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Xml {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        // Wakes the listener.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

impl Front {
    /// Answers one request; a connection has one.
    fn serve(&self, stream: &TcpStream) -> io::Result<()> {
        let request = Request::read(&mut BufReader::new(stream))?;
        let mut stream = stream;
        let answer = if request.header("authorization") == Some(&self.authorization) {
            self.answer(request)?
        } else {
            answer(401, "", "who is asking?")
        };
        stream.write_all(&answer)?;
        stream.flush()
    }

    fn answer(&self, request: Request) -> io::Result<Vec<u8>> {
        let upload = request.query.get("uploadId").cloned();
        let part = request.query.get("partNumber").and_then(|n| n.parse().ok());
        match (request.method.as_str(), upload, part) {
            ("POST", None, None) if request.query.contains_key("uploads") => {
                let id = self.next.fetch_add(1, Ordering::Relaxed).to_string();
                self.uploads().insert(id.clone(), Parts::new());
                let xml = format!(
                    "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
                );
                Ok(answer(200, "", &xml))
            }
            ("PUT", Some(id), Some(part)) => Ok(match self.uploads().get_mut(&id) {
                Some(parts) => {
                    parts.insert(part, request.body);
                    answer(200, &format!("ETag: \"{id}-{part}\"\r\n"), "")
                }
                None => answer(404, "", "no such upload"),
            }),
            ("POST", Some(id), None) => match self.uploads().remove(&id) {
                Some(parts) => self.complete(request, &id, &parts),
                None => Ok(answer(404, "", "no such upload")),
            },
            ("DELETE", Some(id), None) => {
                self.uploads().remove(&id);
                Ok(answer(204, "", ""))
            }
            ("PUT", None, None) => {
                let put = self.put(&request)?;
                Ok(put.map_or_else(|refused| refused, |headers| answer(200, &headers, "")))
            }
            _ => self.hand_on(&request),
        }
    }

    fn uploads(&self) -> std::sync::MutexGuard<'_, HashMap<String, Parts>> {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts the parts that the request lists, one after the other.
    fn complete(&self, mut request: Request, id: &str, parts: &Parts) -> io::Result<Vec<u8>> {
        let listed = String::from_utf8_lossy(&request.body).into_owned();
        request.body = Vec::new();
        for part in listed.split("<Part>").skip(1) {
            let number =
                between(part, "<PartNumber>", "</PartNumber>").and_then(|n| n.parse().ok());
            let bytes = number.and_then(|number: u32| {
                let named = part.contains(&format!("{id}-{number}"));
                parts.get(&number).filter(|_| named)
            });
            match bytes {
                Some(bytes) => request.body.extend_from_slice(bytes),
                None => return Ok(answer(400, "", "InvalidPart")),
            }
        }
        Ok(match self.put(&request)? {
            Ok(headers) => {
                let xml = "<CompleteMultipartUploadResult><ETag>\"whole\"</ETag></CompleteMultipartUploadResult>";
                answer(200, &headers, xml)
            }
            Err(refused) => refused,
        })
    }

    /// Puts an object; the headers that tell of it, or the answer of a refusal.
    fn put(&self, request: &Request) -> io::Result<Result<String, Vec<u8>>> {
        let named = request.path.trim_start_matches('/').split_once('/');
        let Some((bucket, object)) = named else {
            return Ok(Err(answer(400, "", "no object is named")));
        };
        let condition = request.header("x-goog-if-generation-match");
        let condition = condition.map_or(String::new(), |n| format!("&ifGenerationMatch={n}"));
        let name = serde_json::Value::from(decoded(object));
        let mut body = format!(
            "--{BOUNDARY}\r\nContent-Type: application/json\r\n\r\n{{\"name\":{name}}}\r\n\
             --{BOUNDARY}\r\nContent-Type: application/octet-stream\r\n\r\n"
        )
        .into_bytes();
        body.extend_from_slice(&request.body);
        body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
        let upload = Request {
            method: "POST".to_owned(),
            path: String::new(),
            query: HashMap::new(),
            target: format!(
                "/upload/storage/v1/b/{}/o?uploadType=multipart{condition}",
                decoded(bucket)
            ),
            headers: vec![(
                "content-type".to_owned(),
                format!("multipart/related; boundary={BOUNDARY}"),
            )],
            body,
        };
        let told = self.hand_on(&upload)?;
        let text = String::from_utf8_lossy(&told);
        if text.split(' ').nth(1) != Some("200") {
            return Ok(Err(told));
        }
        let json = text.split_once("\r\n\r\n").map_or("", |(_, json)| json);
        let object: serde_json::Value = serde_json::from_str(json)?;
        let field = |name| object.get(name).and_then(serde_json::Value::as_str);
        let (etag, generation) = (field("etag"), field("generation"));
        Ok(Ok(format!(
            "ETag: \"{}\"\r\nx-goog-generation: {}\r\n",
            etag.unwrap_or_default(),
            generation.unwrap_or_default()
        )))
    }

    /// The answer of the server behind.
    fn hand_on(&self, request: &Request) -> io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.behind))?;
        // In this version it ends the connection after an answer, which is never in chunks.
        let mut head = format!(
            "{} {} HTTP/1.0\r\nHost: 127.0.0.1:{}\r\nContent-Length: {}\r\n",
            request.method,
            request.target,
            self.behind,
            request.body.len()
        );
        let ours = ["host", "content-length", "connection", "authorization"];
        for (name, value) in &request.headers {
            if !ours.contains(&name.as_str()) {
                head.extend([name, ": ", value, "\r\n"]);
            }
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        stream.write_all(&request.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}

impl Request {
    fn read(stream: &mut impl BufRead) -> io::Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let method = words.next().unwrap_or_default();
        let target = words.next().unwrap_or_default();
        let mut headers = Vec::new();
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            match line.trim_end().split_once(':') {
                Some((name, value)) => {
                    headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
                }
                None => break,
            }
        }
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let query = query.split('&').map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decoded(name), decoded(value))
        });
        let mut request = Self {
            method,
            path: path.to_owned(),
            query: query.collect(),
            target: target.clone(),
            headers,
            body: Vec::new(),
        };
        let length = request
            .header("content-length")
            .and_then(|n| n.parse().ok());
        let length: usize = length.unwrap_or_default();
        if length > MAX_BODY {
            return Err(io::Error::other("too large"));
        }
        request.body = vec![0; length];
        stream.read_exact(&mut request.body)?;
        Ok(request)
    }

    fn header(&self, wanted: &str) -> Option<&String> {
        let found = self.headers.iter().find(|(name, _)| name == wanted);
        found.map(|(_, value)| value)
    }
}

fn answer(status: u16, headers: &str, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} Answer\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn between<'a>(text: &'a str, begin: &str, end: &str) -> Option<&'a str> {
    text.split_once(begin)?
        .1
        .split_once(end)
        .map(|(found, _)| found)
}

/// A text with its `%XX` read.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let hex = tail.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = tail.get(2..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
