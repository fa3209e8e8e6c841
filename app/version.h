/* The version of the programs. */
#pragma once

#define ESP_VERSION "0.1"
