BEGIN TRANSACTION;
CREATE TABLE cell (
	id INTEGER NOT NULL, 
	target TEXT NOT NULL, 
	iommu VARCHAR(16) NOT NULL, 
	test TEXT NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (target, iommu, test)
);
INSERT INTO "cell" VALUES(1,'virt-cma','off','suites/board/test_import.py::test_decoder_writes_into_imported_buffer[decoder-mmap]');
INSERT INTO "cell" VALUES(2,'virt-cma','off','suites/board/test_import.py::test_decoder_writes_into_imported_buffer[udmabuf-4k]');
INSERT INTO "cell" VALUES(3,'virt-dma32','off','suites/board/test_import.py::test_decoder_writes_into_imported_buffer[vgem]');
CREATE TABLE evidence (
	result_id INTEGER NOT NULL, 
	evidence JSON NOT NULL, 
	reasons JSON NOT NULL, 
	environment JSON NOT NULL, 
	log TEXT NOT NULL, 
	PRIMARY KEY (result_id), 
	FOREIGN KEY(result_id) REFERENCES result (id)
);
INSERT INTO "evidence" VALUES(1,'{"stage": "done", "importer": "0000:00:01.0", "buffer": {"exporter": "udmabuf", "inode": 4711, "size": 40960}, "attachments": ["0000:00:01.0"], "pages": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "bounced": 0, "swiotlb_hiwater": [0, 0], "faults": 0, "fault_lines": [], "copies": [], "kmsg": ["[   12.345678] contiguous chunk is too small 4096/40960"], "canary": 165, "missing": ["no dma_map_sg tracepoint"], "times": {"allocate": 0.004, "import": 0.021, "decode": 2.013}, "maps": [{"device": "0000:00:01.0", "nents": 10, "ents": 10, "phys": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "dma": [[4294967296, 4096], [4299792384, 4096], [4297068544, 4096], [4301893632, 4096], [4299169792, 4096], [4296445952, 4096], [4301271040, 4096], [4298547200, 4096], [4295823360, 4096], [4300648448, 4096]], "truncated": false}]}','["4 of 4 frames match the reference", "10 of 10 pages mapped where the decoder wrote"]','{"iommu group type": "no group", "QEMU": "7.2"}','[   12.345678] contiguous chunk is too small 4096/40960
lab# ');
INSERT INTO "evidence" VALUES(2,'{"stage": "import", "importer": "0000:00:01.0", "buffer": {"exporter": "udmabuf", "inode": 4711, "size": 40960}, "attachments": ["0000:00:01.0"], "pages": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "bounced": 0, "swiotlb_hiwater": [0, 0], "faults": 0, "fault_lines": [], "copies": [], "kmsg": ["[   12.345678] contiguous chunk is too small 4096/40960"], "canary": 165, "missing": ["no dma_map_sg tracepoint"], "times": {"allocate": 0.004, "import": 0.021, "decode": 2.013}, "maps": [{"device": "0000:00:01.0", "nents": 10, "ents": 10, "phys": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "dma": [[4294967296, 4096], [4299792384, 4096], [4297068544, 4096], [4301893632, 4096], [4299169792, 4096], [4296445952, 4096], [4301271040, 4096], [4298547200, 4096], [4295823360, 4096], [4300648448, 4096]], "truncated": false}]}','["4 of 4 frames match the reference", "10 of 10 pages mapped where the decoder wrote"]','{"iommu group type": "no group", "QEMU": "7.2"}','[   12.345678] contiguous chunk is too small 4096/40960
lab# ');
INSERT INTO "evidence" VALUES(3,'{"kmsg": ["a", "b"]}','["4 of 4 frames match the reference", "10 of 10 pages mapped where the decoder wrote"]','{"iommu group type": "no group", "QEMU": "7.2"}','ü[31m</script>');
INSERT INTO "evidence" VALUES(4,'{"stage": "done", "importer": "0000:00:01.0", "buffer": {"exporter": "udmabuf", "inode": 4711, "size": 40960}, "attachments": ["0000:00:01.0"], "pages": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "bounced": 0, "swiotlb_hiwater": [0, 0], "faults": 0, "fault_lines": [], "copies": [], "kmsg": ["[   12.345678] contiguous chunk is too small 4096/40960"], "canary": 165, "missing": ["no dma_map_sg tracepoint"], "times": {"allocate": 0.004, "import": 0.021, "decode": 2.013}, "maps": [{"device": "0000:00:01.0", "nents": 10, "ents": 10, "phys": [4294967296, 4299792384, 4297068544, 4301893632, 4299169792, 4296445952, 4301271040, 4298547200, 4295823360, 4300648448], "dma": [[4294967296, 4096], [4299792384, 4096], [4297068544, 4096], [4301893632, 4096], [4299169792, 4096], [4296445952, 4096], [4301271040, 4096], [4298547200, 4096], [4295823360, 4096], [4300648448, 4096]], "truncated": false}]}','["4 of 4 frames match the reference", "10 of 10 pages mapped where the decoder wrote"]','{"iommu group type": "no group", "QEMU": "7.2"}','[   12.345678] contiguous chunk is too small 4096/40960
lab# ');
CREATE TABLE health (
	id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	place TEXT NOT NULL, 
	target TEXT NOT NULL, 
	soc TEXT NOT NULL, 
	started DATETIME NOT NULL, 
	duration DOUBLE NOT NULL, 
	health TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "health" VALUES(1,'2026-11-22T21-04-33-3f2a','rock-1','t','','2026-11-22 21:04:33.000000',1.5,'healthy','');
CREATE TABLE lease (
	id INTEGER NOT NULL, 
	run TEXT NOT NULL, 
	place TEXT NOT NULL, 
	target TEXT NOT NULL, 
	soc TEXT NOT NULL, 
	holder TEXT NOT NULL, 
	asked DATETIME NOT NULL, 
	since DATETIME NOT NULL, 
	until DATETIME NOT NULL, 
	ended TEXT NOT NULL, 
	reason TEXT NOT NULL, 
	cells INTEGER NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "lease" VALUES(1,'2026-11-22T21-04-33-3f2a','rock-1','t','','h/u','2026-11-22 21:04:33.000000','2026-11-22 21:04:33.000000','2026-11-22 22:04:33.000000','lost','kicked',0);
CREATE TABLE result (
	id INTEGER NOT NULL, 
	run_id INTEGER NOT NULL, 
	cell_id INTEGER NOT NULL, 
	attempt INTEGER NOT NULL, 
	started DATETIME NOT NULL, 
	duration DOUBLE NOT NULL, 
	status VARCHAR(16) NOT NULL, 
	verdict VARCHAR(16), 
	expected VARCHAR(16), 
	expected_errno INTEGER, 
	expected_reason TEXT NOT NULL, 
	errno INTEGER, 
	reason TEXT NOT NULL, 
	iommu_verified VARCHAR(16), 
	place TEXT NOT NULL, 
	soc TEXT NOT NULL, 
	suite TEXT NOT NULL, 
	allocator TEXT NOT NULL, 
	importer TEXT NOT NULL, 
	path TEXT NOT NULL, 
	decoder TEXT NOT NULL, 
	image TEXT NOT NULL, 
	kernel TEXT NOT NULL, 
	repeat TEXT NOT NULL, 
	metrics JSON NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (run_id, cell_id, attempt), 
	FOREIGN KEY(run_id) REFERENCES run (id), 
	FOREIGN KEY(cell_id) REFERENCES cell (id)
);
INSERT INTO "result" VALUES(1,1,1,1,'2026-11-22 21:04:35.000000',2.1,'PASS','zero-copy','zero-copy',NULL,'',NULL,'the decoder''s DMA addresses lie on the buffer''s own pages; no bounce, no copy, no fault','off','virt-cma','virtual','board','decoder-mmap','decoder','decoder''s own (MMAP, EXPBUF)','edu28','3f2a91c04b7d','6.12.107+deb13-arm64','lab run board --target virt-cma --iommu off -k decoder-mmap','{"decode_seconds": 2.013}');
INSERT INTO "result" VALUES(2,1,2,1,'2026-11-22 21:04:35.000000',2.1,'PASS','refused','refused',14,'contiguous memory is demanded, 4K pages are scattered',14,'contiguous memory is demanded, 4K pages are scattered','off','virt-cma','virtual','board','udmabuf-4k','decoder','udmabuf, 4K pages, scattered','edu28','3f2a91c04b7d','6.12.107+deb13-arm64','lab run board --target virt-cma --iommu off -k udmabuf-4k','{"decode_seconds": 2.013}');
INSERT INTO "result" VALUES(3,1,3,2,'2026-11-22 21:04:35.000000',2.1,'FAIL','corrupt','corrupt',NULL,'pages above the 32-bit mask are bounced and never copied back',NULL,'pages above the 32-bit mask are bounced and never copied back','off','virt-dma32','virtual','board','vgem','decoder','vgem buffer','edu28','3f2a91c04b7d','6.12.107+deb13-arm64','lab run board --target virt-dma32 --iommu off -k vgem','{"decode_seconds": 2.013}');
INSERT INTO "result" VALUES(4,2,1,1,'2026-11-22 21:04:35.000000',2.1,'PASS','zero-copy','zero-copy',NULL,'',NULL,'the decoder''s DMA addresses lie on the buffer''s own pages; no bounce, no copy, no fault','off','virt-cma','virtual','board','decoder-mmap','decoder','decoder''s own (MMAP, EXPBUF)','edu28','3f2a91c04b7d','6.12.107+deb13-arm64','lab run board --target virt-cma --iommu off -k decoder-mmap','{"decode_seconds": 2.013}');
CREATE TABLE run (
	id INTEGER NOT NULL, 
	name VARCHAR NOT NULL, 
	started DATETIME NOT NULL, 
	command TEXT NOT NULL, 
	planned JSON NOT NULL, 
	environment JSON NOT NULL, 
	complete BOOLEAN NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "run" VALUES(1,'2026-11-22T21-04-33-3f2a','2026-11-22 21:04:33.000000','lab run --target virt-smmu,virt-cma,virt-dma32','[{"test": "suites/board/test_import.py::test_decoder_writes_into_imported_buffer[decoder-mmap]", "target": "virt-cma", "iommu": "off", "suite": "board", "soc": "virtual", "allocator": "decoder-mmap", "importer": "decoder", "path": "decoder''s own (MMAP, EXPBUF)", "decoder": "edu28"}, {"test": "suites/board/test_import.py::test_decoder_writes_into_imported_buffer[udmabuf-4k]", "target": "virt-cma", "iommu": "off", "suite": "board", "soc": "virtual", "allocator": "udmabuf-4k", "importer": "decoder", "path": "udmabuf, 4K pages, scattered", "decoder": "edu28"}, {"test": "suites/board/test_import.py::test_decoder_writes_into_imported_buffer[vgem]", "target": "virt-dma32", "iommu": "off", "suite": "board", "soc": "virtual", "allocator": "vgem", "importer": "decoder", "path": "vgem buffer", "decoder": "edu28"}]','{"sharelab": "0.1.0", "QEMU": "7.2.15", "host": "x86_64, 2 cores"}',1);
INSERT INTO "run" VALUES(2,'lost-its-first-line','2026-11-22 21:04:35.000000','','[]','{}',0);
CREATE INDEX ix_run_started ON run (started);
CREATE INDEX cell_test ON cell (test);
CREATE INDEX ix_lease_run ON lease (run);
CREATE INDEX ix_lease_place ON lease (place);
CREATE INDEX ix_health_place ON health (place);
CREATE INDEX result_cell ON result (cell_id);
COMMIT;
