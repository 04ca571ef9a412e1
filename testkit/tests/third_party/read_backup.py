"""Reads an SST file of a backup with rocksdict, another binding of RocksDB.

Prints the number of entries, the number of tombstones among them (values whose first byte is 0), and the
first and last stored key in hex. Takes the path of the file.
"""

import os
import shutil
import sys
import tempfile

from rocksdict import IngestExternalFileOptions, Options, Rdict


def main() -> None:
    path = sys.argv[1]
    with tempfile.TemporaryDirectory() as folder:
        copy = os.path.join(folder, "file.sst")
        shutil.copyfile(path, copy)
        database = Rdict(os.path.join(folder, "db"), options=Options(raw_mode=True))
        database.ingest_external_file([copy], IngestExternalFileOptions())
        entries = tombstones = 0
        first = last = b""
        for key, value in database.items():
            if entries == 0:
                first = key
            if last and key <= last:
                sys.exit(f"key {key.hex()} does not come after {last.hex()}")
            last = key
            entries += 1
            tombstones += value[0] == 0
        database.close()
    print(entries, tombstones, first.hex(), last.hex())


if __name__ == "__main__":
    main()
