/*
 * A shared folder and a hostile guest: nothing outside is reached, whatever names, links and special files it
 * comes upon or makes; and what it says of owners and modes is kept and shown, and never real.
 */
#include "tests/unit/share_rig.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "vmcore/error.h"

/* ---- staying inside ---- */

static void names_with_a_way_out_are_refused(void **state)
{
    Folder *f = *state;
    static const char *const bad[] = {"", ".", "..", "/", "../outside", "a/b", "/etc", "a/..", "./x"};
    char too_long[300];
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(lookup_error(f->root, bad[i]), -EINVAL);
        assert_int_equal(vmc_share_mkdir(f->root, bad[i], &USER, 0755, &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_symlink(f->root, bad[i], &USER, "x", &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_mknod(f->root, bad[i], &USER, S_IFREG, &node, &attr), -EINVAL);
        assert_int_equal(vmc_share_create(f->root, bad[i], &USER, O_RDWR, 0644, &node, &attr, &file),
                         -EINVAL);
        assert_int_equal(vmc_share_unlink(f->root, bad[i]), -EINVAL);
        assert_int_equal(vmc_share_rmdir(f->root, bad[i]), -EINVAL);
        put(at(f, "here"), "x");
        assert_int_equal(vmc_share_rename(f->root, "here", f->root, bad[i], 0), -EINVAL);
        assert_int_equal(vmc_share_rename(f->root, bad[i], f->root, "there", 0), -EINVAL);
        node = find(f->root, "here");
        assert_int_equal(vmc_share_link(node, f->root, bad[i], NULL), -EINVAL);
        vmc_share_node_unref(node);
    }
    memset(too_long, 'a', sizeof(too_long));
    too_long[256] = 0;
    assert_int_equal(lookup_error(f->root, too_long), -ENAMETOOLONG);
    too_long[255] = 0;
    assert_int_equal(lookup_error(f->root, too_long), -ENOENT);
}

static void links_are_text_and_lead_nowhere(void **state)
{
    Folder *f = *state;
    char text[256];

    assert_int_equal(symlink(f->outside, at(f, "absolute")), 0);
    assert_int_equal(symlink("../outside/secret", at(f, "relative")), 0);
    assert_int_equal(symlink("/proc/self/root", at(f, "magic")), 0);
    static const char *const names[] = {"absolute", "relative", "magic"};
    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        VmcShareNode *link = find(f->root, names[i]);
        VmcShareChange change = {.mask = VMC_SHARE_SIZE, .size = 0};
        assert_int_equal(vmc_share_node_type(link), S_IFLNK);
        assert_int_equal(open_error(link, O_RDONLY), -ELOOP);
        assert_int_equal(open_error(link, O_RDONLY | O_DIRECTORY), -ELOOP);
        assert_int_equal(lookup_error(link, "secret"), -ENOTDIR);
        assert_int_equal(vmc_share_setattr(link, NULL, &change, NULL), -EINVAL);
        assert_true(vmc_share_setxattr(link, "user.a", "b", 1, 0) < 0);
        assert_int_equal(vmc_share_unlink(link, "secret"), -ENOTDIR);
        vmc_share_node_unref(link);
    }
    VmcShareNode *link = find(f->root, "relative");
    int len = vmc_share_readlink(link, text, sizeof(text));
    assert_int_equal(len, strlen("../outside/secret"));
    assert_memory_equal(text, "../outside/secret", (size_t)len);
    vmc_share_node_unref(link);
}

static void creating_over_a_link_makes_nothing_outside(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;
    char *target = g_build_filename(f->outside, "new", NULL);

    assert_int_equal(symlink(target, at(f, "link")), 0);
    assert_int_equal(vmc_share_create(f->root, "link", &USER, O_RDWR, 0644, &node, &attr, &file), -ELOOP);
    assert_int_equal(vmc_share_create(f->root, "link", &USER, O_RDWR | O_EXCL, 0644, &node, &attr, &file),
                     -EEXIST);
    assert_int_equal(access(target, F_OK), -1);
    g_free(target);
}

static void touching_a_link_leaves_its_target_alone(void **state)
{
    Folder *f = *state;
    char *secret = g_build_filename(f->outside, "secret", NULL);
    struct stat before, after, link_st;
    VmcShareChange change = {.mask = VMC_SHARE_MTIME, .mtime = {1000000000, 5}};

    assert_int_equal(stat(secret, &before), 0);
    assert_int_equal(symlink(secret, at(f, "link")), 0);
    VmcShareNode *link = find(f->root, "link");
    assert_int_equal(vmc_share_setattr(link, NULL, &change, NULL), 0);
    assert_int_equal(set_mode(link, 04777), 0);
    assert_int_equal(set_owner(link, 5, 5), 0);
    assert_int_equal(stat(secret, &after), 0);
    assert_int_equal(lstat(at(f, "link"), &link_st), 0);
    assert_memory_equal(&before, &after, sizeof(before));
    assert_int_equal(link_st.st_mtime, 1000000000);
    vmc_share_node_unref(link);
    g_free(secret);
}

static void special_files_are_shown_and_never_opened(void **state)
{
    Folder *f = *state;
    VmcShareNode *node;
    VmcShareFile *file;
    VmcShareAttr attr;

    assert_int_equal(mkfifo(at(f, "pipe"), 0666), 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", at(f, "socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    close(fd);
    bool device = !mknod(at(f, "zero"), S_IFCHR | 0666, makedev(1, 5));
    static const char *const names[] = {"pipe", "socket", "zero"};
    for (size_t i = 0; i < (device ? 3 : 2); i++) {
        node = find(f->root, names[i]);
        /* Opening the pipe would wait for a writer for ever. */
        assert_int_equal(open_error(node, O_RDONLY), -ENXIO);
        assert_int_equal(open_error(node, O_RDWR), -ENXIO);
        assert_int_equal(
            vmc_share_create(f->root, names[i], &USER, O_RDWR, 0644, &(VmcShareNode *){0}, &attr, &file),
            -ENXIO);
        VmcShareChange change = {.mask = VMC_SHARE_SIZE};
        assert_int_equal(vmc_share_setattr(node, NULL, &change, NULL), -EINVAL);
        VmcShareLock lock = {f, 1, F_WRLCK, 0, INT64_MAX};
        assert_int_equal(vmc_share_setlk(node, &lock), -EINVAL);
        vmc_share_node_unref(node);
    }
    assert_int_equal(vmc_share_mknod(f->root, "disk", &ROOT, S_IFBLK | 0666, &node, &attr), -EPERM);
    assert_int_equal(vmc_share_mknod(f->root, "tty", &ROOT, S_IFCHR | 0666, &node, &attr), -EPERM);
    assert_int_equal(vmc_share_mknod(f->root, "p2", &USER, S_IFIFO | 0620, &node, &attr), 0);
    assert_int_equal(attr.mode, S_IFIFO | 0620);
    vmc_share_node_unref(node);
}

/* Something that goes back and forth behind the layer's back. */
typedef struct Swapper {
    char a[512], b[512];
    atomic_bool stop;
    unsigned swaps;
} Swapper;

static gpointer swap(gpointer data)
{
    Swapper *s = data;

    while (!s->stop) {
        assert_int_equal(renameat2(AT_FDCWD, s->a, AT_FDCWD, s->b, RENAME_EXCHANGE), 0);
        s->swaps++;
    }
    return NULL;
}

/* Goes down `way` and reads "secret" there while the way is a folder and a link to `outside` in turn. */
static void race(Folder *f, unsigned rounds)
{
    Swapper s = {0};
    unsigned reached = 0;

    assert_int_equal(mkdir(at(f, "way"), 0755), 0);
    assert_int_equal(mkdir(at(f, "way/deep"), 0755), 0);
    put(at(f, "way/secret"), "inside");
    put(at(f, "way/deep/secret"), "inside");
    assert_int_equal(symlink(f->outside, at(f, "link")), 0);
    snprintf(s.a, sizeof(s.a), "%s", at(f, "way"));
    snprintf(s.b, sizeof(s.b), "%s", at(f, "link"));
    GThread *thread = g_thread_new("swap", swap, &s);
    for (unsigned i = 0; i < rounds || reached < 20; i++) {
        VmcShareNode *way, *node;
        VmcShareAttr attr;
        int err = vmc_share_lookup(f->root, "way", &way, &attr);
        assert_int_equal(err, 0);
        if (!vmc_share_lookup(way, "secret", &node, &attr)) {
            const char *text = text_of(node);
            if (text)
                assert_string_equal(text, "inside");
            reached += text != NULL;
            vmc_share_node_unref(node);
        }
        VmcShareNode *made;
        VmcShareFile *file;
        if (!vmc_share_create(way, "new", &USER, O_RDWR | O_EXCL, 0600, &made, &attr, &file)) {
            vmc_share_file_unref(file);
            vmc_share_node_unref(made);
            vmc_share_unlink(way, "new");
        }
        vmc_share_node_unref(way);
    }
    s.stop = true;
    g_thread_join(thread);
    char *made = g_build_filename(f->outside, "new", NULL);
    assert_int_equal(access(made, F_OK), -1);
    g_free(made);
    assert_true(s.swaps > 10);
}

static void a_folder_that_becomes_a_link_leads_nowhere(void **state)
{
    race(*state, 2000);
}

static void nor_does_it_when_descriptors_are_scarce(void **state)
{
    Folder *f = *state;

    close_share(f);
    open_share(f, false, 3);
    race(f, 2000);
}

/* A closed node is opened again by a path of several names, any of which may be a link by then. */
static void a_path_that_became_a_link_is_stale(void **state)
{
    Folder *f = *state;
    VmcShareNode *nodes[6];

    close_share(f);
    open_share(f, false, 4);
    assert_int_equal(mkdir(at(f, "way"), 0755), 0);
    assert_int_equal(mkdir(at(f, "way/deep"), 0755), 0);
    put(at(f, "way/deep/secret"), "inside");
    VmcShareNode *way = find(f->root, "way"), *deep = find(way, "deep"), *secret = find(deep, "secret");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++) {
        char name[8];
        snprintf(name, sizeof(name), "f%u", i);
        put(at(f, name), "x");
        nodes[i] = find(f->root, name);
    }
    assert_string_equal(text_of(secret), "inside");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++)
        attr_of(nodes[i]);
    assert_int_equal(rename(at(f, "way"), at(f, "moved")), 0);
    char *fake = g_build_filename(f->outside, "deep", NULL);
    assert_int_equal(mkdir(fake, 0755), 0);
    char *fake_secret = g_build_filename(fake, "secret", NULL);
    put(fake_secret, "outside");
    assert_int_equal(symlink(f->outside, at(f, "way")), 0);
    VmcShareAttr attr;
    assert_int_equal(vmc_share_getattr(secret, NULL, &attr), -ESTALE);
    assert_int_equal(open_error(secret, O_RDONLY), -ESTALE);
    /* Found again under its new name, it is the same node. */
    VmcShareNode *moved = find(f->root, "moved"), *deep2 = find(moved, "deep"),
                 *again = find(deep2, "secret");
    assert_ptr_equal(again, secret);
    assert_string_equal(text_of(secret), "inside");
    for (unsigned i = 0; i < G_N_ELEMENTS(nodes); i++)
        vmc_share_node_unref(nodes[i]);
    VmcShareNode *all[] = {way, deep, secret, moved, deep2, again};
    for (unsigned i = 0; i < G_N_ELEMENTS(all); i++)
        vmc_share_node_unref(all[i]);
    g_free(fake);
    g_free(fake_secret);
}

static void another_file_with_the_same_name_is_stale(void **state)
{
    Folder *f = *state;
    VmcShareAttr attr;

    close_share(f);
    open_share(f, false, 2);
    put(at(f, "a"), "first");
    put(at(f, "b"), "x");
    VmcShareNode *a = find(f->root, "a"), *b = find(f->root, "b");
    attr_of(b);
    assert_int_equal(unlink(at(f, "a")), 0);
    put(at(f, "a"), "second");
    assert_int_equal(vmc_share_getattr(a, NULL, &attr), -ESTALE);
    VmcShareNode *new = find(f->root, "a");
    assert_true(vmc_share_node_id(new) != vmc_share_node_id(a));
    assert_string_equal(text_of(new), "second");
    vmc_share_node_unref(new);
    vmc_share_node_unref(a);
    vmc_share_node_unref(b);
}

/* ---- owners and modes ---- */

static void the_guests_user_owns_what_it_makes(void **state)
{
    Folder *f = *state;
    struct stat st;

    VmcShareNode *mine = make_file(f->root, "mine", USER, 0640, "");
    VmcShareNode *roots = make_file(f->root, "roots", ROOT, 0600, "");
    VmcShareNode *theirs = make_dir(f->root, "theirs", OTHER, 0700);
    assert_int_equal(attr_of(mine).uid, 1000);
    assert_int_equal(attr_of(mine).mode, S_IFREG | 0640);
    assert_int_equal(getxattr(at(f, "mine"), "user.espalier.owner", NULL, 0), -1);
    assert_int_equal(attr_of(roots).uid, 0);
    assert_int_equal(attr_of(roots).gid, 0);
    assert_int_equal(attr_of(theirs).uid, 1234);
    assert_int_equal(attr_of(theirs).gid, 4321);
    assert_int_equal(stat(at(f, "theirs"), &st), 0);
    assert_int_equal(st.st_uid, geteuid());
    vmc_share_node_unref(mine);
    vmc_share_node_unref(roots);
    vmc_share_node_unref(theirs);
}

static void chown_is_kept_and_shown(void **state)
{
    Folder *f = *state;
    char list[256];

    VmcShareNode *a = make_file(f->root, "a", USER, 0755, "");
    assert_int_equal(set_owner(a, 33, 44), 0);
    vmc_share_node_unref(a);
    close_share(f);
    open_share(f, false, 0);
    a = find(f->root, "a");
    assert_int_equal(attr_of(a).uid, 33);
    assert_int_equal(attr_of(a).gid, 44);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(vmc_share_listxattr(a, list, sizeof(list)), 0);
    assert_int_equal(vmc_share_getxattr(a, "user.espalier.owner", list, sizeof(list)), -ENODATA);
    assert_int_equal(vmc_share_setxattr(a, "user.espalier.owner", "0:0:4755:755", 12, 0), -EPERM);
    assert_int_equal(vmc_share_removexattr(a, "user.espalier.owner"), -ENODATA);
    assert_int_equal(vmc_share_setxattr(a, "user.espalier.x.trusted.a", "0", 1, 0), -EPERM);
    assert_int_equal(set_owner(a, 1000, 1000), 0);
    assert_int_equal(getxattr(at(f, "a"), "user.espalier.owner", NULL, 0), -1);
    vmc_share_node_unref(a);
}

static void setuid_is_never_real(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0755, "");
    assert_int_equal(set_mode(a, 06755), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 06755);
    assert_int_equal(host_mode(f, "a"), 0755);
    /* A write of someone who is not root ends it; so does a new owner. */
    VmcShareFile *file;
    assert_int_equal(vmc_share_open(a, O_RDWR, &file), 0);
    struct iovec iov = {"x", 1};
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, false), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 06755);
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, true), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(set_mode(a, 04755), 0);
    assert_int_equal(vmc_share_write(file, &iov, 1, 0, true), 1);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    assert_int_equal(set_mode(a, 04711), 0);
    assert_int_equal(set_owner(a, 7, 7), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0711);
    vmc_share_file_unref(file);
    /* Created so, by a umask of the host that would take more away. */
    mode_t old = umask(077);
    VmcShareNode *b = make_file(f->root, "b", USER, 04775, "");
    VmcShareNode *d = make_dir(f->root, "d", USER, 0777);
    umask(old);
    assert_int_equal(attr_of(b).mode, S_IFREG | 04775);
    assert_int_equal(host_mode(f, "b"), 0775);
    assert_int_equal(host_mode(f, "d"), 0777);
    VmcShareNode *all[] = {a, b, d};
    for (unsigned i = 0; i < 3; i++)
        vmc_share_node_unref(all[i]);
}

static void the_hosts_setuid_is_not_shown(void **state)
{
    Folder *f = *state;

    put(at(f, "a"), "");
    assert_int_equal(chmod(at(f, "a"), 04755), 0);
    VmcShareNode *a = find(f->root, "a");
    assert_int_equal(attr_of(a).mode, S_IFREG | 0755);
    vmc_share_node_unref(a);
}

static void modes_that_shut_out_their_owner_are_only_shown(void **state)
{
    Folder *f = *state;

    VmcShareNode *a = make_file(f->root, "a", USER, 0444, "text");
    VmcShareNode *d = make_dir(f->root, "d", USER, 0755);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0444);
    assert_int_equal(set_mode(a, 0), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG);
    assert_int_equal(set_owner(a, 5, 6), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG);
    assert_int_equal(attr_of(a).uid, 5);
    assert_string_equal(text_of(a), "text"); /* as the guest's root may */
    assert_int_equal(set_mode(d, 0555), 0);
    assert_int_equal(attr_of(d).mode, S_IFDIR | 0555);
    vmc_share_node_unref(make_file(d, "in", ROOT, 0644, ""));
    /* The host changes its mind: then that counts. */
    assert_int_equal(chmod(at(f, "a"), 0751), 0);
    assert_int_equal(attr_of(a).mode, S_IFREG | 0751);
    assert_int_equal(attr_of(a).uid, 5);
    vmc_share_node_unref(a);
    vmc_share_node_unref(d);
}

static void a_directory_with_setgid_hands_its_group_down(void **state)
{
    Folder *f = *state;

    VmcShareNode *d = make_dir(f->root, "d", USER, 0755);
    assert_int_equal(set_owner(d, 1000, 50), 0);
    assert_int_equal(set_mode(d, 02775), 0);
    assert_int_equal(host_mode(f, "d"), 0775);
    VmcShareNode *file = make_file(d, "file", OTHER, 0664, "");
    VmcShareNode *sub = make_dir(d, "sub", OTHER, 0755);
    assert_int_equal(attr_of(file).uid, 1234);
    assert_int_equal(attr_of(file).gid, 50);
    assert_int_equal(attr_of(file).mode, S_IFREG | 0664);
    assert_int_equal(attr_of(sub).gid, 50);
    assert_int_equal(attr_of(sub).mode, S_IFDIR | 02755);
    VmcShareNode *all[] = {d, file, sub};
    for (unsigned i = 0; i < 3; i++)
        vmc_share_node_unref(all[i]);
}

static void nonsense_in_the_owner_attribute_is_ignored(void **state)
{
    Folder *f = *state;
    static const char *const bad[] = {"",
                                      "x",
                                      "1",
                                      "1:",
                                      ":1",
                                      "1:2:",
                                      "1:2:3",
                                      "1:2:9:1",
                                      "1:2:7777777:644",
                                      "99999999999:1",
                                      "-1:1",
                                      "1:2:755:644:1",
                                      "1:2 ",
                                      "0x1:1"};

    put(at(f, "a"), "");
    VmcShareNode *a = find(f->root, "a");
    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        assert_int_equal(setxattr(at(f, "a"), "user.espalier.owner", bad[i], strlen(bad[i]), 0), 0);
        assert_int_equal(attr_of(a).uid, 1000);
        assert_int_equal(attr_of(a).mode, S_IFREG | 0644);
    }
    assert_int_equal(set_owner(a, 8, 9), 0);
    assert_int_equal(attr_of(a).uid, 8);
    vmc_share_node_unref(a);
}

/* ---- opening ---- */

static void what_cannot_be_shared_is_named(void **state)
{
    Folder *f = *state;
    VmcShareOptions options = {0};
    GError *error = NULL;

    put(at(f, "file"), "");
    assert_null(vmc_share_new(at(f, "file"), &options, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    assert_non_null(strstr(error->message, at(f, "file")));
    g_clear_error(&error);
    assert_null(vmc_share_new(at(f, "nothing"), &options, &error));
    assert_true(g_error_matches(error, VMC_ERROR, VMC_ERROR_CONFIG));
    g_clear_error(&error);
}

static int run_all(void)
{
    const struct CMUnitTest tests[] = {
        CASE(names_with_a_way_out_are_refused),
        CASE(links_are_text_and_lead_nowhere),
        CASE(creating_over_a_link_makes_nothing_outside),
        CASE(touching_a_link_leaves_its_target_alone),
        CASE(special_files_are_shown_and_never_opened),
        CASE(a_folder_that_becomes_a_link_leads_nowhere),
        CASE(nor_does_it_when_descriptors_are_scarce),
        CASE(a_path_that_became_a_link_is_stale),
        CASE(another_file_with_the_same_name_is_stale),
        CASE(the_guests_user_owns_what_it_makes),
        CASE(chown_is_kept_and_shown),
        CASE(setuid_is_never_real),
        CASE(the_hosts_setuid_is_not_shown),
        CASE(modes_that_shut_out_their_owner_are_only_shown),
        CASE(a_directory_with_setgid_hands_its_group_down),
        CASE(nonsense_in_the_owner_attribute_is_ignored),
        CASE(what_cannot_be_shared_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(void)
{
    return run_three_ways(run_all);
}
