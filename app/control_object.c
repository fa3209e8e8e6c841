/*
 * The object that peers of a control socket see: gdbus-codegen's skeleton, but for the two properties that
 * change all the time. They are measured when somebody reads them, so nobody who looks costs nothing.
 */
#include <unistd.h>

#include "app/control_private.h"

#define ESP_TYPE_CONTROL_OBJECT (esp_control_object_get_type())
G_DECLARE_FINAL_TYPE(EspControlObject, esp_control_object, ESP, CONTROL_OBJECT, EspMachine1Skeleton)

struct _EspControlObject {
    EspMachine1Skeleton parent_instance;
    EspUsage usage;
};

G_DEFINE_TYPE(EspControlObject, esp_control_object, ESP_TYPE_MACHINE1_SKELETON)

enum { PROP_CPU_USE = 1, PROP_MEMORY_USE };

static void esp_control_object_get_property(GObject *object, guint id, GValue *value, GParamSpec *pspec)
{
    EspControlObject *self = ESP_CONTROL_OBJECT(object);

    switch (id) {
    case PROP_CPU_USE:
        g_value_set_double(value, esp_usage_cpu(&self->usage));
        break;
    case PROP_MEMORY_USE:
        g_value_set_uint64(value, esp_usage_memory());
        break;
    default:
        G_OBJECT_WARN_INVALID_PROPERTY_ID(object, id, pspec);
    }
}

/* They are nobody's to set. */
static void esp_control_object_set_property(GObject *object, guint id, const GValue *value, GParamSpec *pspec)
{
}

static void esp_control_object_class_init(EspControlObjectClass *klass)
{
    GObjectClass *object_class = G_OBJECT_CLASS(klass);

    object_class->get_property = esp_control_object_get_property;
    object_class->set_property = esp_control_object_set_property;
    g_object_class_override_property(object_class, PROP_CPU_USE, "cpu-use");
    g_object_class_override_property(object_class, PROP_MEMORY_USE, "memory-use");
}

static void esp_control_object_init(EspControlObject *self)
{
    esp_usage_init(&self->usage);
}

EspMachine1 *esp_control_object_new(void)
{
    EspMachine1 *object = g_object_new(ESP_TYPE_CONTROL_OBJECT, NULL);

    esp_machine1_set_pid(object, (guint)getpid());
    return object;
}
