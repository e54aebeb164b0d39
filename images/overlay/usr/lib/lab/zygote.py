import os,sys,io,ctypes,struct,threading,socket,select,signal,fcntl,mmap,errno,time,json,types,traceback,queue,weakref,importlib.util
libc=ctypes.CDLL(None,use_errno=True)
fifo=os.open("/run/lab/agent",os.O_RDWR|os.O_CLOEXEC)
children={}
def reap(*_):
    while True:
        try: pid,_s=os.waitpid(-1,os.WNOHANG)
        except ChildProcessError: return
        if not pid: return
        c=children.pop(pid,None)
        if c:
            try: os.kill(c,15)
            except OSError: pass
signal.signal(signal.SIGCHLD,reap)
buf=b""
print("zygote", open("/proc/uptime").read(), flush=True)
while True:
    buf+=os.read(fifo,4096)
    *lines,buf=buf.split(b"\n")
    for line in lines:
        peer=int(line)
        pidfd=os.pidfd_open(peer)
        fds=[libc.syscall(438,pidfd,n,0) for n in (0,1,2)]
        os.close(pidfd)
        pid=os.fork()
        if pid:
            children[pid]=peer
            for f in fds: os.close(f)
            continue
        signal.signal(signal.SIGCHLD,signal.SIG_DFL)
        os.setsid()
        os.close(fifo)
        for n,f in enumerate(fds): os.dup2(f,n)
        for f in fds: os.close(f)
        sys.stdin=io.TextIOWrapper(io.BufferedReader(io.FileIO(0,closefd=False)),encoding="utf-8")
        sys.stdout=io.TextIOWrapper(io.BufferedWriter(io.FileIO(1,"w",closefd=False)),encoding="utf-8",write_through=True)
        sys.stderr=io.TextIOWrapper(io.BufferedWriter(io.FileIO(2,"w",closefd=False)),encoding="utf-8",write_through=True)
        exec(eval(sys.stdin.readline()),{"__name__":"__main__","sys":sys})
        os._exit(0)
