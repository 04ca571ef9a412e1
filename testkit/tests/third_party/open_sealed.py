"""Opens a sealed collection by docs/format/sealing.md alone: no code of Icecore.

    open_sealed.py vectors FILE            checks the known answers
    open_sealed.py open FOLDER KEY-FILE PASSPHRASE-FILE
                                           prints, for each object: role, path, SHA-256 of what it seals

The key and the passphrase must unwrap the same collection key.
"""

import hashlib
import json
import os
import sys
import uuid
import zlib

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHUNK = 65536


def hkdf(key, salt, info, length):
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(key)


def key_check(key, collection):
    return hkdf(key, collection, b"icecore key check v1", 16)


def open_object(key, collection, role, place, sealed):
    header, body = sealed[:32], sealed[32:]
    assert header[:4] == b"ICES" and header[4:6] == b"\x01\x00", header
    assert header[6] == role and header[7] == 16, header
    length = int.from_bytes(header[24:32], "little")
    info = b"icecore sealed object v1" + bytes([role]) + collection + place.encode()
    cipher = AESGCM(hkdf(key, header[8:24], info, 32))
    chunks = max(1, -(-length // CHUNK))
    assert len(sealed) == 32 + length + 16 * chunks, (len(sealed), length)
    plain = b""
    for n in range(chunks):
        nonce = bytes(7) + n.to_bytes(4, "big") + bytes([n + 1 == chunks])
        chunk = body[n * (CHUNK + 16) : (n + 1) * (CHUNK + 16)]
        plain += cipher.decrypt(nonce, chunk, hashlib.sha256(header).digest())
    assert len(plain) == length
    return plain


def read_marker(content):
    line, crc, end = content.split(b"\n")
    assert end == b"" and crc == b"%08x" % zlib.crc32(line), content
    return json.loads(line)


def unwrap(wrapper, key_file, passphrase):
    collection = uuid.UUID(wrapper["collection_id"]).bytes
    aad = b"icecore key wrapper v1" + collection + uuid.UUID(wrapper["id"]).bytes
    if wrapper["kind"] == "passphrase":
        cost = wrapper["argon2id"]
        wrapping = Argon2id(
            salt=bytes.fromhex(wrapper["salt"]),
            length=32,
            iterations=cost["passes"],
            lanes=cost["lanes"],
            memory_cost=cost["memory_kib"],
        ).derive(passphrase)
    else:
        assert wrapper["kind"] == "key", wrapper
        wrapping = key_file
    nonce, key = bytes.fromhex(wrapper["nonce"]), bytes.fromhex(wrapper["key"])
    return AESGCM(wrapping).decrypt(nonce, key, aad)


def vectors(path):
    with open(path, "rb") as file:
        known = json.load(file)
    collection = uuid.UUID(known["collection_id"]).bytes
    key = bytes.fromhex(known["collection_key"])
    assert key_check(key, collection).hex() == known["key_check"]
    for wrapper in known["wrappers"]:
        wrapper = read_marker(wrapper.encode())
        assert wrapper["id"] == known["wrapper_id"]
        key_file, passphrase = bytes.fromhex(known["key_file"]), known["passphrase"].encode()
        assert unwrap(wrapper, key_file, passphrase) == key
    whole = 0
    for described in known["objects"]:
        if "sealed" in described:
            sealed = bytes.fromhex(described["sealed"])
            assert hashlib.sha256(sealed).hexdigest() == described["sealed_sha256"]
            plain = open_object(key, collection, described["role"], described["place"], sealed)
            assert plain.hex() == described["plain"]
            whole += 1
    print("wrappers", len(known["wrappers"]), "objects", whole)


def open_collection(folder, key_path, passphrase_path):
    with open(key_path, "rb") as file:
        key_file = file.read()
    with open(passphrase_path, "rb") as file:
        passphrase = file.read().removesuffix(b"\n")

    def read(path):
        with open(os.path.join(folder, path), "rb") as file:
            return file.read()

    marker = read_marker(read("metadata/COLLECTION"))
    collection = uuid.UUID(marker["collection_id"]).bytes
    kinds, keys = set(), set()
    wrappers = "metadata/keys/" + marker["collection_id"]
    for name in os.listdir(os.path.join(folder, wrappers)):
        wrapper = read_marker(read(wrappers + "/" + name))
        assert wrapper["id"] == name and wrapper["collection_id"] == marker["collection_id"]
        kinds.add(wrapper["kind"])
        keys.add(unwrap(wrapper, key_file, passphrase))
    assert kinds == {"passphrase", "key"}, kinds
    (key,) = keys
    assert key_check(key, collection).hex() == marker["sealing"]["key_check"]
    for root, _, files in sorted(os.walk(folder)):
        for name in sorted(files):
            path = os.path.relpath(os.path.join(root, name), folder)
            if path.startswith("metadata/") or name.startswith("BACKUP-LOCK"):
                continue
            place = path
            if name == "BACKUP_MANIFEST":
                role = 2
            elif name.startswith("BACKUP_FILES-"):
                role, place = 3, path.rsplit("-", 1)[0]
            else:
                role = 1
            plain = open_object(key, collection, role, place, read(path))
            print(role, path, hashlib.sha256(plain).hexdigest(), plain[:4].hex())


if __name__ == "__main__":
    {"vectors": vectors, "open": open_collection}[sys.argv[1]](*sys.argv[2:])
