/*
 * What POSIX (and Linux' manual pages, where it says more) asks of a file system, for posix.c, which says how
 * a line reads. Each section runs in an empty folder of its own.
 */
#pragma once

/* clang-format off */
static const char *const lines_open[] = {
    "open none O_RDONLY = ENOENT", "open none/x O_RDONLY|O_CREAT 0644 = ENOENT", "open - O_RDONLY = ENOENT",
    "open f O_RDWR|O_CREAT 0644 = 0", "lstat f tmsnug = f,0644,0,1,0,0",
    "open f O_RDWR|O_CREAT|O_EXCL 0644 = EEXIST", "open f O_RDONLY = 0", "open f O_DIRECTORY = ENOTDIR",
    "open f/x O_RDONLY = ENOTDIR", "open f/x O_RDWR|O_CREAT 0644 = ENOTDIR", "open f/ O_RDONLY = ENOTDIR",
    "mkdir d 0755 = 0", "open d O_RDONLY = 0", "open d O_WRONLY = EISDIR", "open d O_RDWR = EISDIR", "open d O_RDONLY|O_CREAT 0644 = EISDIR",
    "open d O_RDONLY|O_TRUNC = EISDIR", "open d O_RDONLY|O_DIRECTORY = 0", "open d/ O_RDONLY|O_DIRECTORY = 0", "open new/ O_RDWR|O_CREAT 0644 = EISDIR",
    "symlink f l = 0", "open l O_RDONLY = 0", "open l O_RDONLY|O_NOFOLLOW = ELOOP", "open l O_RDWR|O_CREAT|O_EXCL 0644 = EEXIST",
    "symlink none dangling = 0", "open dangling O_RDONLY = ENOENT", "open dangling O_RDWR|O_CREAT|O_EXCL 0644 = EEXIST",
    "open dangling O_RDWR|O_CREAT 0640 = 0", "lstat none tm = f,0640",
    "symlink self self = 0", "open self O_RDONLY = ELOOP", "open self/x O_RDONLY = ELOOP",
    "symlink two one = 0", "symlink one two = 0", "open one O_RDONLY = ELOOP", "symlink d ld = 0", "open ld O_RDONLY|O_DIRECTORY = 0",
    "open ld O_RDONLY|O_DIRECTORY|O_NOFOLLOW = ENOTDIR", "open ld/x O_RDWR|O_CREAT 0600 = 0", "lstat d/x m = 0600",
    "open @255 O_RDWR|O_CREAT 0644 = 0", "lstat @255 s = 0", "open @256 O_RDWR|O_CREAT 0644 = ENAMETOOLONG", "open @256 O_RDONLY = ENAMETOOLONG",
    "open @256/x O_RDONLY = ENAMETOOLONG", "open @P O_RDONLY = ENAMETOOLONG", "unlink @255 = 0",
    "umask 077 = 0", "open masked O_RDWR|O_CREAT 0666 = 0", "lstat masked m = 0600", "umask 027 = 0", "open masked2 O_RDWR|O_CREAT 0777 = 0",
    "lstat masked2 m = 0750", "umask 0 = 0", "open wide O_RDWR|O_CREAT 0666 = 0", "lstat wide m = 0666", "open sticky O_RDWR|O_CREAT 01644 = 0",
    "lstat sticky m = 1644", "umask 022 = 0",
    "make t 'some text' = 0", "open t O_RDONLY = 0", "lstat t s = 9", "open t O_WRONLY|O_TRUNC = 0", "lstat t s = 0",
    "make ro text = 0", "chmod ro 0444 = 0", "as 1000 open ro O_WRONLY = EACCES", "as 1000 open ro O_RDONLY|O_TRUNC = EACCES", "as 1000 open ro O_RDONLY = 0",
    "chmod ro 0200 = 0", "as 1000 open ro O_RDONLY = EACCES", "as 1000 open other O_RDWR|O_CREAT 0644 = EACCES", "as 1000 open f O_RDWR = EACCES",
    "chmod f 0 = 0", "as 1000 open f O_RDONLY = EACCES", "open f O_RDWR = 0", "chown f 1000 1000 = 0", "as 1000 open f O_RDONLY = EACCES",
    "chmod f 0400 = 0", "as 1000 open f O_RDONLY = 0", "as 1000 open f O_WRONLY = EACCES", "as 1001 open f O_RDONLY = EACCES",
    "mkdir closed 0700 = 0", "make closed/f x = 0", "as 1000 open closed/f O_RDONLY = EACCES", "as 1000 open closed/none O_RDONLY = EACCES",
    "mkdir lookless 0755 = 0", "chmod lookless 0711 = 0", "make lookless/f x = 0", "as 1000 open lookless/f O_RDONLY = 0", "as 1000 list lookless = EACCES",
    "mkdir walkless 0755 = 0", "make walkless/f x = 0", "chmod walkless 0744 = 0", "as 1000 list walkless = 'f'", "as 1000 open walkless/f O_RDONLY = EACCES",
    "open f O_PATH = 0", "open l O_PATH|O_NOFOLLOW = 0", "open d O_PATH = 0",
    0,
};

static const char *const lines_data[] = {
    "hold 0 f O_RDWR|O_CREAT 0644 = 0", "write 0 hello = 5", "fstat 0 s = 5", "pread 0 0 100 = 'hello'", "pread 0 1 3 = 'ell'", "pread 0 5 1 = ''",
    "pread 0 500 1 = ''", "read 0 10 = ''", "seek 0 0 SEEK_SET = 0", "read 0 2 = 'he'", "seek 0 0 SEEK_CUR = 2", "seek 0 -1 SEEK_END = 4",
    "seek 0 -9 SEEK_SET = EINVAL", "pwrite 0 10 tail = 4", "fstat 0 s = 14", "zeroes 0 5 100 = 5", "pread 0 10 10 = 'tail'",
    "hold 1 f O_WRONLY|O_APPEND = 0", "write 1 more = 4", "fstat 0 s = 18", "pread 0 14 10 = 'more'", "seek 1 0 SEEK_CUR = 18",
    "hold 2 f O_RDONLY = 0", "write 2 x = EBADF", "ftruncate 2 0 = EINVAL", "read 1 1 = EBADF", "pread 2 0 5 = 'hello'",
    "ftruncate 0 3 = 0", "fstat 2 s = 3", "pread 2 0 9 = 'hel'", "ftruncate 0 8 = 0", "pread 2 0 3 = 'hel'", "zeroes 2 3 100 = 5", "ftruncate 0 -1 = EINVAL",
    "pwrite 0 100000 end = 3", "fstat 2 s = 100003", "zeroes 2 8 65536 = 65536", "pread 2 100000 9 = 'end'", "fsync 0 = 0", "fsync 2 = 0",
    "unlink f = 0", "fstat 0 sn = 100003,0", "pread 2 100000 9 = 'end'", "pwrite 0 100000 END = 3", "pread 2 100000 9 = 'END'", "lstat f s = ENOENT",
    "make f fresh = 0", "pread 2 0 3 = 'hel'", "text f = 'fresh'", "close 0 = 0", "close 0 = EBADF", "close 2 = 0", "close 1 = 0",
    "hold 0 d O_RDWR|O_CREAT|O_TRUNC 0644 = 0", "write 0 abcdefgh = 8", "hold 1 e O_RDWR|O_CREAT 0644 = 0", "copy 0 1 2 4 3 = 3", "fstat 1 s = 7",
    "pread 1 4 9 = 'cde'", "copy 0 1 0 0 100 = 8", "pread 1 0 9 = 'abcdefgh'", "copy 0 1 50 0 10 = 0", "copy 0 0 0 8 4 = 4", "pread 0 8 9 = 'abcd'",
    "!9 map 0 2 MAP = 0 | 0 | ENODEV", "pread 0 0 9 = 'abMAPfgha' | 'abMAPfgha' | 'abcdefgha'", "hold 2 e O_RDONLY = 0", "map 2 0 x = EACCES", "pwrite 0 3 xx = 2", "text d = 'abMxxfghabcd' | 'abMxxfghabcd' | 'abcxxfghabcd'",
    "hold 3 d O_RDWR|O_SYNC = 0", "pwrite 3 0 sync = 4", "text d = 'syncxfghabcd'",
    "mkdir dir 0755 = 0", "hold 4 dir O_RDONLY = 0", "read 4 1 = EISDIR", "ftruncate 4 0 = EINVAL", "fsync 4 = 0", "write 4 x = EBADF",
    "hold 5 tmp O_RDWR|O_CREAT 0600 = 0", "rename tmp moved = 0", "write 5 kept = 4", "text moved = 'kept'", "fchmod 5 0640 = 0", "lstat moved m = 0640",
    0,
};

static const char *const lines_space[] = {
    "hold 0 f O_RDWR|O_CREAT 0644 = 0", "!9 fallocate 0 0 0 10000 = 0", "!9 fstat 0 s = 10000", "!9 zeroes 0 0 20000 = 10000", "!9 fallocate 0 FALLOC_FL_KEEP_SIZE 0 20000 = 0",
    "!9 fstat 0 s = 10000", "pwrite 0 4090 aaaaaaaaaaaa = 12", "!9 fallocate 0 FALLOC_FL_PUNCH_HOLE|FALLOC_FL_KEEP_SIZE 4096 4096 = 0",
    "pread 0 4090 6 = 'aaaaaa'", "!9 zeroes 0 4096 4096 = 4096", "!9 fstat 0 s = 10000", "fallocate 0 0 0 0 = EINVAL", "fallocate 0 0 -1 10 = EINVAL",
    "fallocate 0 FALLOC_FL_PUNCH_HOLE 0 10 = EOPNOTSUPP", "hold 1 f O_RDONLY = 0", "fallocate 1 0 0 10 = EBADF",
    "hold 2 holes O_RDWR|O_CREAT 0644 = 0", "ftruncate 2 1000000 = 0", "!9 seek 2 0 SEEK_HOLE = 0", "!9 seek 2 0 SEEK_DATA = ENXIO", "pwrite 2 524288 x = 1",
    "!9 seek 2 0 SEEK_DATA = 524288", "seek 2 1000000 SEEK_DATA = ENXIO", "seek 2 2000000 SEEK_HOLE = ENXIO",
    "make t 0123456789 = 0", "truncate t 4 = 0", "text t = '0123'", "truncate t 6 = 0", "lstat t s = 6", "truncate t -1 = EINVAL", "truncate none 0 = ENOENT",
    "truncate t/x 0 = ENOTDIR", "mkdir d 0755 = 0", "truncate d 0 = EISDIR", "truncate @256 0 = ENAMETOOLONG", "symlink self self = 0", "truncate self 0 = ELOOP",
    "as 1000 truncate t 0 = EACCES", "chown t 1000 1000 = 0", "chmod t 0400 = 0", "as 1000 truncate t 0 = EACCES", "chmod t 0600 = 0", "as 1000 truncate t 1 = 0",
    "text t = '0'", "statvfs . = 1", "statvfs none = ENOENT",
    0,
};

static const char *const lines_folders[] = {
    "mkdir d 0755 = 0", "lstat d tmnug = d,0755,2,0,0", "mkdir d 0755 = EEXIST", "mkdir none/d 0755 = ENOENT", "mkdir - 0755 = ENOENT", "make f x = 0",
    "mkdir f 0755 = EEXIST", "mkdir f/x 0755 = ENOTDIR", "mkdir d/ 0755 = EEXIST", "mkdir e/ 0755 = 0", "mkdir . 0755 = EEXIST", "mkdir .. 0755 = EEXIST",
    "symlink d l = 0", "mkdir l 0755 = EEXIST", "symlink none dangling = 0", "mkdir dangling 0755 = EEXIST", "mkdir @256 0755 = ENAMETOOLONG", "mkdir @255 0755 = 0",
    "rmdir @255 = 0", "mkdir @P 0755 = ENAMETOOLONG", "symlink self self = 0", "mkdir self/x 0755 = ELOOP",
    "mkdir d/a 0755 = 0", "mkdir d/b 0755 = 0", "make d/c x = 0", "list d = 'a,b,c'", "rmdir d = ENOTEMPTY", "rmdir none = ENOENT", "rmdir f = ENOTDIR", "rmdir f/x = ENOTDIR",
    "rmdir l = ENOTDIR", "rmdir . = EINVAL", "rmdir d/.. = ENOTEMPTY", "rmdir d/a/. = EINVAL", "rmdir @256 = ENAMETOOLONG", "rmdir self/x = ELOOP", "rmdir - = ENOENT",
    "unlink d = EISDIR", "unlink d/c = 0", "rmdir d/a/ = 0", "rmdir d/b = 0", "list d = ''", "rmdir d = 0", "list d = ENOENT", "list f = ENOTDIR",
    "umask 027 = 0", "mkdir masked 0777 = 0", "lstat masked m = 0750", "umask 0 = 0", "mkdir sticky 01777 = 0", "lstat sticky m = 1777", "umask 022 = 0",
    "mkdir group 0755 = 0", "chown group 0 50 = 0", "chmod group 02777 = 0", "mkdir group/d 0755 = 0", "lstat group/d mg = 2755,50", "make group/f x = 0", "lstat group/f mg = 0644,50",
    "as 1000 mkdir group/theirs 0755 = 0", "!9 lstat group/theirs mug = 2755,1000,50",
    "as 1000 mkdir theirs 0755 = EACCES", "as 1000 rmdir e = EACCES", "mkdir open 0755 = 0", "chmod open 0777 = 0", "as 1000 mkdir open/a 0755 = 0", "!9 lstat open/a ug = 1000,1000",
    "as 1001 rmdir open/a = 0", "chmod open 01777 = 0", "as 1000 mkdir open/b 0755 = 0", "as 1001 rmdir open/b = EPERM", "as 1000 make open/g x = 0", "as 1001 unlink open/g = EPERM",
    "as 1001 rename open/g open/h = EPERM", "!9 as 1000 unlink open/g = 0", "!9 as 1000 rmdir open/b = 0",
    "mkdir gone 0755 = 0", "hold 0 gone O_RDONLY = 0", "rmdir gone = 0", "fstat 0 t = d",
    "mkdir cwd 0755 = 0", "chdir cwd = 0", "rmdir ../cwd = 0", "open x O_RDWR|O_CREAT 0644 = ENOENT", "mkdir x 0755 = ENOENT", "chdir /tmp = 0",
    0,
};

static const char *const lines_many[] = {
    "mkdir d 0755 = 0", "many d 700 name- = 700", "many d 1 name- = 0", "lstat d/name-0699 ts = f,0", "lstat d/name-0700 t = ENOENT", "sweep d = 700", "list d = ''",
    "many d 300 a-rather-longer-name-of-many-letters-in-a-folder- = 300", "sweep d = 300", "rmdir d = 0",
    0,
};

static const char *const lines_links[] = {
    "make f text = 0", "link f g = 0", "lstat f n = 2", "lstat g ns = 2,4", "same f g = 1", "link f g = EEXIST", "link none h = ENOENT", "link f none/h = ENOENT", "link f f/h = ENOTDIR",
    "link f/x h = ENOTDIR", "mkdir d 0755 = 0", "link d e = EPERM", "link f d = EEXIST", "link f d/f = 0", "lstat f n = 3", "link f @256 = ENAMETOOLONG", "link f @255 = 0", "unlink @255 = 0",
    "link @256 h = ENAMETOOLONG", "link - h = ENOENT", "link f - = ENOENT",
    "unlink f = 0", "text g = 'text'", "lstat d/f n = 2", "unlink d/f = 0", "lstat g n = 1", "chmod g 0600 = 0", "link g h = 0", "lstat h m = 0600", "chmod h 0640 = 0", "lstat g m = 0640",
    "hold 0 g O_RDWR = 0", "unlink g = 0", "unlink h = 0", "fstat 0 n = 0", "linkfd 0 h = ENOENT",
    "symlink target l = 0", "lstat l ts = l,6", "readlink l = 'target'", "symlink other l = EEXIST", "symlink - e = ENOENT", "symlink a none/l = ENOENT", "symlink a - = ENOENT",
    "symlink ../../../etc/passwd up = 0", "readlink up = '../../../etc/passwd'", "symlink /etc/absolute abs = 0", "readlink abs = '/etc/absolute'",
    "symlink @1000 long = 0", "lstat long s = 1000", "readlink none = ENOENT", "readlink d = EINVAL", "make plain x = 0", "readlink plain = EINVAL", "readlink plain/x = ENOTDIR",
    "readlink @256 = ENAMETOOLONG", "symlink a @256 = ENAMETOOLONG", "symlink a @255 = 0", "readlink @255 = 'a'", "unlink @255 = 0", "symlink 'with space' s = 0", "readlink s = 'with space'",
    "unlink l = 0", "lstat l t = ENOENT", "symlink plain l = 0", "link l l2 = 0", "lstat l2 tn = l,2", "lchown l 1000 1001 = 0", "!9 lstat l ug = 1000,1001 | 1000,1000", "lstat plain ug = 0,0",
    "chown l 5 6 = 0", "lstat plain ug = 5,6", "as 1000 symlink x theirs = EACCES", "chown plain 1000 1000 = 0", "as 1000 link plain theirs = EACCES",
    "as 1000 readlink s = 'with space'", "mkdir closed 0700 = 0", "symlink x closed/l = 0", "as 1000 readlink closed/l = EACCES",
    "stat l ts = f,1", "symlink loop loop = 0", "stat loop t = ELOOP", "lstat loop t = l", "link loop/x y = ELOOP", "symlink loop/x z = 0",
    "unlink none = ENOENT", "unlink plain/x = ENOTDIR", "unlink @256 = ENAMETOOLONG", "unlink loop/x = ELOOP", "unlink - = ENOENT", "as 1000 unlink plain = EACCES", "unlink d/ = EISDIR",
    "unlink plain/ = ENOTDIR",
    0,
};

static const char *const lines_rename[] = {
    "make a one = 0", "rename a b = 0", "lstat a t = ENOENT", "text b = 'one'", "make a two = 0", "rename a b = 0", "text b = 'two'", "lstat a t = ENOENT", "rename none x = ENOENT",
    "rename b none/x = ENOENT", "rename b b = 0", "text b = 'two'", "link b c = 0", "rename b c = 0", "lstat b n = 2", "unlink c = 0", "mkdir d 0755 = 0", "rename b d = EISDIR",
    "rename d b = ENOTDIR", "rename b b/x = ENOTDIR", "rename b/x y = ENOTDIR", "mkdir e 0755 = 0", "rename d e = 0", "lstat d t = ENOENT", "mkdir d 0755 = 0", "make d/f x = 0",
    "rename e d = ENOTEMPTY", "rename d e = 0", "list e = 'f'", "rename e e/sub = EINVAL", "rename . x = EBUSY", "rename e/. x = EBUSY", "rename e .. = EBUSY",
    "rename @256 x = ENAMETOOLONG", "rename b @256 = ENAMETOOLONG", "rename b @255 = 0", "rename @255 b = 0", "rename - x = ENOENT", "rename b - = ENOENT",
    "mkdir one 0755 = 0", "mkdir two 0755 = 0", "rename one/ two/ = 0", "lstat two n = 2", "mkdir one 0755 = 0", "rename two one/two = 0", "lstat one n = 3", "list one = 'two'",
    "rename one/two two = 0", "lstat one n = 2", "make b/ x = EISDIR", "rename b/ y = ENOTDIR", "rename b y/ = ENOTDIR",
    "symlink b l = 0", "rename l m = 0", "readlink m = 'b'", "lstat b t = f", "make q q = 0", "rename q m = 0", "lstat m t = f", "symlink loop loop = 0", "rename loop/x y = ELOOP",
    "make x xx = 0", "make y yy = 0", "rename2 x y RENAME_NOREPLACE = EEXIST", "!9 rename2 x z RENAME_NOREPLACE = 0", "!9 text z = 'xx'", "!9 rename2 z y RENAME_EXCHANGE = 0", "!9 text z = 'yy'",
    "!9 text y = 'xx'", "rename2 z none RENAME_EXCHANGE = ENOENT", "!9 rename2 z e RENAME_EXCHANGE = 0", "!9 lstat z t = d", "!9 text e = 'yy'", "rename2 z y RENAME_NOREPLACE|RENAME_EXCHANGE = EINVAL",
    "rename2 z y 0x80 = EINVAL",
    "as 1000 rename y w = EACCES", "mkdir s 0755 = 0", "chmod s 01777 = 0", "as 1000 make s/f x = 0", "as 1001 rename s/f s/g = EPERM", "as 1001 make s/h x = 0", "as 1001 rename s/h s/f = EPERM",
    "!9 as 1000 rename s/f s/k = 0", "mkdir other 0777 = 0", "chmod other 0777 = 0", "as 1000 mkdir other/d 0755 = 0", "as 1001 rename other/d other/e = 0",
    "hold 0 y O_RDWR = 0", "make over over = 0", "rename over y = 0", "fstat 0 ns = 0,2", "text y = 'over'", "hold 1 y O_RDONLY = 0", "rename y away = 0", "read 1 9 = 'over'",
    0,
};

static const char *const lines_modes[] = {
    "make f x = 0", "chmod f 0600 = 0", "lstat f m = 0600", "chmod f 0 = 0", "lstat f m = 0000", "chmod f 07777 = 0", "lstat f m = 7777", "chmod none 0644 = ENOENT", "chmod f/x 0644 = ENOTDIR",
    "chmod @256 0644 = ENAMETOOLONG", "chmod - 0644 = ENOENT", "symlink loop loop = 0", "chmod loop 0644 = ELOOP", "as 1000 chmod f 0644 = EPERM", "chown f 1000 1000 = 0", "as 1000 chmod f 0644 = 0",
    "lstat f m = 0644", "as 1001 chmod f 0600 = EPERM", "symlink f l = 0", "chmod l 0640 = 0", "lstat f m = 0640", "lstat l m = 0777", "mkdir d 0755 = 0", "chmod d 01711 = 0", "lstat d m = 1711",
    "chown f 1000 1001 = 0", "as 1000 chmod f 02755 = 0", "lstat f m = 0755", "chown f 1000 1000 = 0", "as 1000 chmod f 02755 = 0", "lstat f m = 2755",
    "chmod f 06755 = 0", "as 1000 chown f -1 1000 = 0", "lstat f m = 0755", "chmod f 06755 = 0", "chown f 1000 1000 = 0", "lstat f mug = 0755,1000,1000",
    "chmod f 04777 = 0", "hold 0 f O_RDWR = 0", "as 1001 write 0 x = 1", "lstat f m = 0777", "chmod f 06777 = 0", "as 1001 hold 1 f O_RDWR = 0", "as 1001 ftruncate 1 0 = 0", "lstat f m = 0777",
    "chmod f 0755 = 0", "chown f 2 3 = 0", "lstat f ug = 2,3", "chown f -1 4 = 0", "lstat f ug = 2,4", "chown f 5 -1 = 0", "lstat f ug = 5,4", "chown f -1 -1 = 0", "lstat f ug = 5,4",
    "chown none 1 1 = ENOENT", "chown f/x 1 1 = ENOTDIR", "chown @256 1 1 = ENAMETOOLONG", "chown loop 1 1 = ELOOP", "as 1000 chown f 1000 1000 = EPERM", "chown f 1000 1000 = 0",
    "as 1000 chown f 0 -1 = EPERM", "as 1000 chown f -1 0 = EPERM", "as 1000 chown f 1000 1000 = 0", "chown f 65534 65534 = 0", "lstat f ug = 65534,65534", "chown f 100000 200000 = 0", "lstat f ug = 100000,200000",
    "chown d 1000 1000 = 0", "lstat d ugm = 1000,1000,1711", "as 1000 make d/f x = 0", "!9 lstat d/f ug = 1000,1000",
    "make g text = 0", "chmod g 0640 = 0", "chown g 0 1000 = 0", "as 1000 text g = 'text'", "as 1000 open g O_WRONLY = EACCES", "as 1001 text g = EACCES",
    "access g R_OK = 0", "access g W_OK = 0", "access g X_OK = EACCES", "as 1000 access g R_OK = 0", "as 1000 access g W_OK = EACCES", "as 1001 access g R_OK = EACCES", "as 1001 access g F_OK = 0",
    "access none F_OK = ENOENT", "access g/x F_OK = ENOTDIR", "access loop F_OK = ELOOP", "access @256 F_OK = ENAMETOOLONG", "chmod g 0100 = 0", "access g X_OK = 0",
    "hold 2 g O_RDWR = 0", "fchmod 2 0604 = 0", "lstat g m = 0604", "as 1000 fchmod 2 0600 = EPERM", "as 1000 hold 3 g O_RDONLY = EACCES", "as 1002 text g = 'text'",
    0,
};

static const char *const lines_times[] = {
    "make f x = 0", "utimens f 1000000000.123456789 1100000000.987654321 = 0", "!9 lstat f aM = 1000000000.123456789,1100000000.987654321", "utimens f OMIT 5.000000007 = 0",
    "!9 lstat f aM = 1000000000.123456789,5.000000007", "utimens f 6 OMIT = 0", "!9 lstat f aM = 6.000000000,5.000000007", "utimens f OMIT OMIT = 0", "!9 lstat f aM = 6.000000000,5.000000007",
    "utimens f 0.2000000000 0 = EINVAL", "utimens none 1 1 = ENOENT", "utimens f/x 1 1 = ENOTDIR", "utimens @256 1 1 = ENAMETOOLONG", "symlink loop loop = 0", "utimens loop/x 1 1 = ELOOP",
    "as 1000 utimens f 1 1 = EPERM", "as 1000 utimens f NOW NOW = EACCES", "chmod f 0666 = 0", "as 1000 utimens f NOW NOW = 0", "as 1000 utimens f 1 1 = EPERM", "chown f 1000 1000 = 0",
    "as 1000 utimens f 7 8 = 0", "lstat f aM = 7.000000000,8.000000000", "utimens loop 9 10 = 0", "lstat loop M = 10.000000000", "mkdir d 0755 = 0", "utimens d 11 12.000000013 = 0",
    "!9 lstat d aM = 11.000000000,12.000000013", "make d/x y = 0", "make mark x = 0", "newer d mark m = 1", "make d/z y = 0", "newer mark d m = 1",
    "utimens f 1 1 = 0", "make f more = 0", "newer mark f m = 1", "make g x = 0", "utimens g 1 2 = 0", "chmod g 0600 = 0", "lstat g M = 2.000000000", "newer mark g c = 1", "link g h = 0", "lstat g M = 2.000000000",
    "rename g k = 0", "lstat k M = 2.000000000", "truncate k 9 = 0", "newer mark k m = 1", "utimens k 1 2 = 0", 
    "utimens f 2147483648 4102444800 = 0", "lstat f M = 4102444800.000000000", "utimens f 1 -5 = 0", "!9 lstat f M = -5.000000000",
    0,
};

static const char *const lines_xattrs[] = {
    "make f x = 0", "listxattr f = ''", "setxattr f user.a one = 0", "getxattr f user.a = 'one'", "getxattr f user.a 2 = ERANGE", "getxattr f user.none = ENODATA", "setxattr f user.a two XATTR_CREATE = EEXIST",
    "setxattr f user.b two XATTR_REPLACE = ENODATA", "setxattr f user.a two XATTR_REPLACE = 0", "getxattr f user.a = 'two'", "setxattr f user.empty - = 0", "getxattr f user.empty = ''",
    "setxattr f user.b 'a longer value' XATTR_CREATE = 0", "listxattr f = 'user.a,user.b,user.empty'", "removexattr f user.b = 0", "removexattr f user.b = ENODATA", "listxattr f = 'user.a,user.empty'",
    "setxattr f trusted.t three = 0", "getxattr f trusted.t = 'three'", "as 1000 getxattr f trusted.t = ENODATA", "as 1000 setxattr f user.c x = EACCES", "as 1000 getxattr f user.a = 'two'",
    "!9 setxattr f nonsense x = EOPNOTSUPP | 0", "!9 removexattr f nonsense = EOPNOTSUPP | 0", "setxattr f user. x = EINVAL", "setxattr none user.a x = ENOENT", "setxattr f/x user.a x = ENOTDIR", "getxattr none user.a = ENOENT", "listxattr none = ENOENT",
    "setxattr f user.@251 x = ERANGE", "mkdir d 0755 = 0", "setxattr d user.a folder = 0", "getxattr d user.a = 'folder'", "rename f g = 0", "getxattr g user.a = 'two'", "link g h = 0", "getxattr h user.a = 'two'",
    "chmod g 0 = 0", "as 1000 getxattr g user.a = EACCES",
    0,
};

static const char *const lines_locks[] = {
    "make f 0123456789 = 0", "hold 0 f O_RDWR = 0", "hold 1 f O_RDWR = 0", "flock 0 LOCK_EX = 0", "flock 1 LOCK_EX|LOCK_NB = EAGAIN", "flock 1 LOCK_SH|LOCK_NB = EAGAIN", "flock 0 LOCK_SH = 0", "flock 1 LOCK_SH|LOCK_NB = 0",
    "flock 0 LOCK_EX|LOCK_NB = EAGAIN", "flock 1 LOCK_UN = 0", "flock 0 LOCK_EX|LOCK_NB = 0", "close 0 = 0", "flock 1 LOCK_EX|LOCK_NB = 0", "flock 1 LOCK_UN = 0",
    "hold 0 f O_RDWR = 0", "lock 0 F_WRLCK 0 5 = 0", "~ lock 1 F_WRLCK 0 5 = EAGAIN", "~ lock 1 F_RDLCK 4 1 = EAGAIN", "~ lock 1 F_WRLCK 5 5 = 0", "~ getlock 1 F_RDLCK 0 0 = write-0-5", "~ getlock 1 F_WRLCK 6 1 = free",
    "lock 0 F_UNLCK 2 1 = 0", "~ lock 1 F_WRLCK 2 1 = 0", "~ getlock 1 F_WRLCK 3 1 = write-3-2", "lock 0 F_RDLCK 0 0 = 0", "~ lock 1 F_RDLCK 0 0 = 0", "~ lock 1 F_WRLCK 100 1 = EAGAIN", "~ getlock 1 F_WRLCK 0 0 = read-0-0",
    "lock 0 F_UNLCK 0 0 = 0", "~ lock 1 F_WRLCK 0 0 = 0", "hold 2 f O_RDONLY = 0", "lock 2 F_WRLCK 0 1 = EBADF", "hold 3 f O_WRONLY = 0", "lock 3 F_RDLCK 0 1 = EBADF", "lock 0 F_WRLCK -1 1 = EINVAL",
    "lock 0 F_WRLCK 0 1 = 0", "close 3 = 0", "~ lock 1 F_WRLCK 0 1 = 0",
    0,
};

static const char *const lines_special[] = {
    "mkfifo p 0644 = 0", "lstat p tm = p,0644", "mkfifo p 0644 = EEXIST", "mkfifo none/p 0644 = ENOENT", "make f x = 0", "mkfifo f/p 0644 = ENOTDIR", "mkfifo f 0644 = EEXIST",
    "mkfifo @256 0644 = ENAMETOOLONG", "mkfifo - 0644 = ENOENT", "as 1000 mkfifo q 0644 = EACCES", "open p O_RDONLY|O_NONBLOCK = 0", "open p O_WRONLY|O_NONBLOCK = ENXIO",
    "mknod c S_IFCHR|0666 1 3 = 0 | EPERM", "mknod b S_IFBLK|0666 7 0 = 0 | EPERM", "mknod s S_IFSOCK|0666 = 0", "lstat s t = s", "open s O_RDONLY = ENXIO", "mknod plain S_IFREG|0640 = 0", "lstat plain tms = f,0640,0", "mknod plain S_IFREG|0640 = EEXIST",
    "as 1000 mknod d S_IFCHR|0666 1 3 = EACCES", "unlink plain = 0",
    0,
};

static const char *const lines_programs[] = {
    "program p = 0", "exec p = 7", "as 1000 exec p = 7", "hold 0 p O_RDONLY = 0", "exec p = 7", "hold 1 p O_RDWR = 0", "exec p = ETXTBSY", "close 1 = 0", "exec p = 7", "chmod p 0644 = 0", "exec p = EACCES",
    "chmod p 0700 = 0", "as 1000 exec p = EACCES", "exec none = ENOENT", "exec p/x = ENOTDIR", "mkdir d 0755 = 0", "exec d = EACCES", "make text notaprogram = 0", "chmod text 0755 = 0", "exec text = ENOEXEC",
    "make script '#!/none/such' = 0", "chmod script 0755 = 0", "exec script = ENOENT", "symlink p l = 0", "exec l = 7", "symlink loop loop = 0", "exec loop = ELOOP", "link p q = 0", "exec q = 7", "rename q r = 0", "exec r = 7",
    0,
};

#define SECTION(name) {#name, lines_##name}
static const struct {
    const char *name;
    const char *const *lines;
} sections[] = {
    SECTION(open), SECTION(data), SECTION(space), SECTION(folders), SECTION(many), SECTION(links), SECTION(rename),
    SECTION(modes), SECTION(times), SECTION(xattrs), SECTION(locks), SECTION(special), SECTION(programs),
};
/* clang-format on */
